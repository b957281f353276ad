//! The metadata of a connection, as the reference's `extractSocketMetadata` finds it.

use std::net::{IpAddr, SocketAddr};

use cilium_policy::{Direction, EndpointPolicy, Snapshot};

use crate::metadata::{Config, LocalEndpoint, WORLD, mark};

/// Where identities come from.
pub(crate) trait Identities {
    /// Identity of an address; `None`: unknown.
    fn resolve(&self, address: IpAddr) -> Option<u32>;

    /// Identity of a connection's source, which a datapath may know better than by its address.
    fn source(&self, flow: Flow, ingress: bool) -> Option<u32> {
        let _ = ingress;
        self.resolve(flow.source.ip())
    }
}

impl Identities for cilium_policy::hosts::HostMap {
    fn resolve(&self, address: IpAddr) -> Option<u32> {
        self.resolve(address)
    }
}

/// An accepted connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// What the filters of a connection need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) ingress: bool,
    pub(crate) l7lb: bool,
    pub(crate) allow_egress: bool,
    pub(crate) proxy_id: u16,
    /// Destination port that policy sees.
    pub(crate) port: u16,
    pub(crate) source_identity: u32,
    /// Identity of the original source of north/south load balancing; 0: none to check.
    pub(crate) ingress_source_identity: u32,
    /// Policy of the local endpoint; empty: there is none.
    pub(crate) pod: String,
    /// Policy of the load balancer; empty: none to enforce.
    pub(crate) ingress_policy: String,
    /// Address whose identity is the destination's, where that is not the connection's own.
    pub(crate) destination: Option<IpAddr>,
    /// Parser that the rules name for the connection.
    pub(crate) parser: Option<String>,
    /// For the upstream socket.
    pub(crate) mark: u32,
    /// The client's address, to be kept on the upstream socket.
    pub(crate) original_source: Option<SocketAddr>,
    /// Else the upstream socket's address, by family of the destination; port 0: any.
    pub(crate) source_ipv4: Option<SocketAddr>,
    pub(crate) source_ipv6: Option<SocketAddr>,
}

/// Why a connection has no metadata. It is closed, or its requests are answered with 500.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

/// Finds the metadata of a connection.
pub(crate) fn extract(
    config: &Config,
    flow: Flow,
    policies: &Snapshot,
    identities: &impl Identities,
) -> Result<Metadata, Refused> {
    let identity = |address| identities.resolve(address).unwrap_or(WORLD);
    let endpoint = config.local_endpoint.as_ref();
    let (pod, other) = ends(config, flow, endpoint);
    // Without a source of policies, those that other listeners have do not count.
    let policy = policies.policy(if config.has_policies { &pod } else { "" }, config.allow_egress());

    let source_identity = match endpoint {
        Some(endpoint) if !config.ingress => identity(endpoint.ip),
        _ => identities.source(flow, config.ingress).unwrap_or(WORLD),
    };
    let mut metadata = Metadata {
        ingress: config.ingress,
        l7lb: config.l7lb,
        allow_egress: config.allow_egress(),
        proxy_id: config.proxy_id,
        port: endpoint.and_then(|endpoint| endpoint.port).unwrap_or(flow.destination.port()),
        source_identity,
        ingress_source_identity: 0,
        pod,
        ingress_policy: String::new(),
        destination: endpoint.and_then(|endpoint| endpoint.destination),
        parser: None,
        mark: 0,
        original_source: None,
        source_ipv4: config.source_ipv4.map(|ip| SocketAddr::new(ip.into(), 0)),
        source_ipv6: config.source_ipv6.map(|ip| SocketAddr::new(ip.into(), 0)),
    };
    if config.l7lb && config.use_original_source {
        east_west(&mut metadata, flow, policy)?;
    } else if config.l7lb {
        north_south(&mut metadata, config, flow, policy, identity)?;
    } else if config.use_original_source && !(config.has_policies && policies.endpoint(&other).is_some()) {
        // A destination on this node would see its own replies come from the wrong place.
        metadata.original_source = Some(flow.source);
    }
    metadata.parser = parser(&metadata, config, flow, policy, identity);
    if !(config.l7lb && config.use_original_source) {
        metadata.mark = mark::of_identity(config.ingress, metadata.source_identity);
    }
    Ok(metadata)
}

/// The local endpoint, by the name of its policy, and the other side.
fn ends(config: &Config, flow: Flow, endpoint: Option<&LocalEndpoint>) -> (String, String) {
    let (near, far) = if config.ingress {
        (flow.destination.ip(), flow.source.ip())
    } else {
        (flow.source.ip(), flow.destination.ip())
    };
    (endpoint.map_or_else(|| near.to_string(), |endpoint| endpoint.name.clone()), far.to_string())
}

/// Load balancing for a local endpoint: it keeps its address, and the datapath applies its egress policy afterwards.
fn east_west(metadata: &mut Metadata, flow: Flow, policy: &EndpointPolicy) -> Result<(), Refused> {
    if policy.endpoint_id() == 0 {
        return Err(Refused(format!("{} is no local endpoint and can not keep its source address", metadata.pod)));
    }
    let port = flow.source.port();
    metadata.source_ipv4 = None;
    metadata.source_ipv6 = None;
    for ip in policy.ips().filter_map(|ip| ip.parse::<IpAddr>().ok()) {
        let address = Some(SocketAddr::new(ip, port));
        if ip.is_ipv4() { metadata.source_ipv4 = address } else { metadata.source_ipv6 = address }
    }
    metadata.original_source = Some(flow.source);
    metadata.mark = mark::of_endpoint(policy.endpoint_id());
    Ok(())
}

/// Load balancing for clients from elsewhere: the upstream sees the load balancer's own address and identity.
fn north_south(
    metadata: &mut Metadata,
    config: &Config,
    flow: Flow,
    policy: &EndpointPolicy,
    identity: impl Fn(IpAddr) -> u32,
) -> Result<(), Refused> {
    let destination = flow.destination.ip();
    let own = if destination.is_ipv4() { metadata.source_ipv4 } else { metadata.source_ipv6 };
    let Some(own) = own.map(|address| address.ip()) else {
        return Err(Refused(format!("no source address of the family of {destination} is configured")));
    };
    if policy.endpoint_id() == 0 {
        metadata.pod.clear();
    }
    if config.enforce_l7lb {
        metadata.ingress_source_identity = metadata.source_identity;
        metadata.ingress_policy =
            if config.l7lb_policy.is_empty() { own.to_string() } else { config.l7lb_policy.clone() };
    }
    metadata.source_identity = identity(own);
    if metadata.source_identity == WORLD {
        return Err(Refused(format!("the configured source address {own} has no identity")));
    }
    Ok(())
}

fn parser(
    metadata: &Metadata,
    config: &Config,
    flow: Flow,
    policy: &EndpointPolicy,
    identity: impl Fn(IpAddr) -> u32,
) -> Option<String> {
    let (direction, remote) = if config.ingress {
        (Direction::Ingress, metadata.source_identity)
    } else {
        (Direction::Egress, identity(metadata.destination.unwrap_or(flow.destination.ip())))
    };
    policy.port(direction, metadata.port).l7_parser(config.proxy_id, remote).map(str::to_owned)
}

#[cfg(test)]
mod tests;
