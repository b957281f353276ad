//! What the upstream sockets of a connection get, as bytes in Envoy's filter state.

use std::net::{IpAddr, SocketAddr};

use cilium_policy::Snapshot;
use cilium_privileged::SourceAddresses;

use crate::metadata::{Config, Metadata};

const MARK: u8 = 1;
const LINGER: u8 = 2;
const ON_CONNECT: u8 = 4;

/// Flags, mark, seconds to linger; the source addresses follow.
const FIXED: usize = 9;

/// Options of the upstream sockets; the default asks for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UpstreamSocket {
    pub(crate) mark: Option<u32>,
    pub(crate) source: SourceAddresses,
    /// The destination is only known when the socket connects, and may forbid the source address then.
    pub(crate) on_connect: bool,
    /// Seconds, for sockets whose source address has a port.
    pub(crate) linger: Option<u32>,
}

impl UpstreamSocket {
    /// The filter state key.
    pub(crate) const KEY: &'static str = "cilium.upstream_socket";

    /// `destination` is where the client wanted to go.
    pub(crate) fn new(
        config: &Config,
        metadata: &Metadata,
        destination: IpAddr,
        policies: &Snapshot,
        marked: bool,
    ) -> Self {
        // On a host without datapath nobody reads marks, and only the client's address needs privileges.
        if config.local_endpoint.is_some() && !config.use_original_source {
            return Self::default();
        }
        let on_connect = config.l7lb || config.local_endpoint.is_some();
        let source = if !on_connect && policies.endpoint(&destination.to_string()).is_some() {
            // The answers of a local workload would go past the proxy.
            SourceAddresses::default()
        } else {
            addresses(metadata, (!on_connect).then_some(destination))
        };
        let linger = config.linger.filter(|_| source != SourceAddresses::default());
        Self { mark: marked.then_some(metadata.mark), source, on_connect, linger }
    }

    /// The bytes for the filter state; `None` when nothing is asked for.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if *self == (Self { on_connect: self.on_connect, ..Self::default() }) {
            return None;
        }
        let mut flags = 0;
        for (flag, set) in [(MARK, self.mark.is_some()), (LINGER, self.linger.is_some()), (ON_CONNECT, self.on_connect)]
        {
            flags |= if set { flag } else { 0 };
        }
        let mut bytes = vec![flags];
        bytes.extend(self.mark.unwrap_or_default().to_be_bytes());
        bytes.extend(self.linger.unwrap_or_default().to_be_bytes());
        bytes.extend(self.source.encode());
        Some(bytes)
    }

    /// Reads the bytes back; `None` when they are not what [`UpstreamSocket::encode`] makes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let ([flags, m0, m1, m2, m3, l0, l1, l2, l3], source) = bytes.split_first_chunk::<FIXED>()?;
        let source = if source.is_empty() { SourceAddresses::default() } else { SourceAddresses::decode(source)? };
        Some(Self {
            mark: (flags & MARK != 0).then_some(u32::from_be_bytes([*m0, *m1, *m2, *m3])),
            source,
            on_connect: flags & ON_CONNECT != 0,
            linger: (flags & LINGER != 0).then_some(u32::from_be_bytes([*l0, *l1, *l2, *l3])),
        })
    }
}

/// The client's address where it is kept, else the configured ones; none that is the destination itself.
fn addresses(metadata: &Metadata, destination: Option<IpAddr>) -> SourceAddresses {
    let mut addresses = SourceAddresses::default();
    for address in [metadata.source_ipv4, metadata.source_ipv6, metadata.original_source].into_iter().flatten() {
        if Some(address.ip()) == destination {
            continue;
        }
        match address {
            SocketAddr::V4(address) => addresses.ipv4 = Some(address),
            SocketAddr::V6(address) => addresses.ipv6 = Some(address),
        }
    }
    addresses
}

#[cfg(test)]
mod tests;
