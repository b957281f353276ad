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
    /// `cilium_proxy.v1.TlsContextState`
    TlsContexts,
}

impl ResourceType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Policies, Self::Hosts, Self::Secrets, Self::TlsContexts];

    /// Type URL on the channel.
    #[must_use]
    pub fn url(self) -> &'static str {
        match self {
            Self::Policies => "type.googleapis.com/cilium.NetworkPolicy",
            Self::Hosts => "type.googleapis.com/cilium.NetworkPolicyHosts",
            Self::Secrets => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::TlsContexts => "type.googleapis.com/cilium_proxy.v1.TlsContextState",
        }
    }

    /// The type with this URL.
    #[must_use]
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource_type| resource_type.url() == url)
    }
}
