//! `cilium.BpfMetadata`, validated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cilium_abi::ConfigError;
use cilium_proto::cilium::BpfMetadata;

/// Configuration of one listener.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "as many as the message has")]
pub(crate) struct Config {
    pub(crate) ingress: bool,
    pub(crate) proxy_id: u16,
    pub(crate) use_original_source: bool,
    pub(crate) l7lb: bool,
    pub(crate) enforce_l7lb: bool,
    pub(crate) l7lb_policy: String,
    pub(crate) source_ipv4: Option<Ipv4Addr>,
    pub(crate) source_ipv6: Option<Ipv6Addr>,
    /// Seconds for `SO_LINGER` of upstream sockets that keep the client's address.
    pub(crate) linger: Option<u32>,
    pub(crate) local_endpoint: Option<LocalEndpoint>,
    /// Chains and upstream sockets are chosen by the policy's verdict on TLS.
    pub(crate) tls_chains: bool,
    /// No plaintext from clients for which policy has a TLS context.
    pub(crate) tls_required: bool,
    /// Whether there is a source of policies and identities at all.
    pub(crate) has_policies: bool,
}

/// The endpoint of a standalone listener.
#[derive(Debug, Clone)]
pub(crate) struct LocalEndpoint {
    pub(crate) ip: IpAddr,
    /// Name of its policy: the IP as written.
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
    pub(crate) destination: Option<IpAddr>,
}

impl Config {
    /// Checks a message; the errors are the reference's where it has one.
    pub(crate) fn new(message: &BpfMetadata) -> Result<Self, ConfigError> {
        if message.is_l7lb && message.is_ingress {
            return Err(error("is_l7lb may not be set with is_ingress"));
        }
        let proxy_id = u16::try_from(message.proxy_id)
            .map_err(|_| error(&format!("proxy_id is above 65535: {}", message.proxy_id)))?;
        Ok(Self {
            ingress: message.is_ingress,
            proxy_id,
            use_original_source: message.use_original_source_address,
            l7lb: message.is_l7lb,
            enforce_l7lb: message.enforce_policy_on_l7lb,
            l7lb_policy: message.l7lb_policy_name.clone(),
            source_ipv4: source(&message.ipv4_source_address, "ipv4_source_address", "IPv4")?,
            source_ipv6: source(&message.ipv6_source_address, "ipv6_source_address", "IPv6")?,
            linger: message.original_source_so_linger_time,
            local_endpoint: message.local_endpoint.as_ref().map(LocalEndpoint::new).transpose()?,
            tls_chains: message.tls_chains,
            tls_required: message.tls_required,
            has_policies: message.use_nphds || !message.bpf_root.is_empty(),
        })
    }

    /// Whether endpoints without a policy may send: load balancing for sources that are not under policy.
    pub(crate) fn allow_egress(&self) -> bool {
        self.l7lb && !self.enforce_l7lb && !self.ingress
    }
}

impl LocalEndpoint {
    fn new(message: &cilium_proto::cilium::LocalEndpoint) -> Result<Self, ConfigError> {
        let ip = |text: &str, field: &str| {
            text.parse().map_err(|_| error(&format!("local_endpoint.{field} is not an IP address: {text}")))
        };
        let port = u16::try_from(message.port)
            .map_err(|_| error(&format!("local_endpoint.port is above 65535: {}", message.port)))?;
        Ok(Self {
            ip: ip(&message.endpoint_ip, "endpoint_ip")?,
            name: message.endpoint_ip.clone(),
            port: (port != 0).then_some(port),
            destination: if message.destination_ip.is_empty() {
                None
            } else {
                Some(ip(&message.destination_ip, "destination_ip")?)
            },
        })
    }
}

fn source<A: std::str::FromStr>(text: &str, field: &str, family: &str) -> Result<Option<A>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| error(&format!("{field} is not an {family} address: {text}")))
}

fn error(problem: &str) -> ConfigError {
    ConfigError(format!("cilium.bpf_metadata: {problem}"))
}
