//! The types of resources.

/// The resources that come over the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceType {
    /// `cilium.NetworkPolicy`
    Policies,
    /// `cilium.NetworkPolicyHosts`
    Hosts,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`
    Secrets,
}

impl ResourceType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Policies, Self::Hosts, Self::Secrets];

    /// Type URL on the channel.
    #[must_use]
    pub fn url(self) -> &'static str {
        match self {
            Self::Policies => "type.googleapis.com/cilium.NetworkPolicy",
            Self::Hosts => "type.googleapis.com/cilium.NetworkPolicyHosts",
            Self::Secrets => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The type with this URL.
    #[must_use]
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource_type| resource_type.url() == url)
    }
}
