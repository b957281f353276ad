//! Source identities from Cilium's connection tracking maps.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::client::Client;
use crate::map::{Layout, MapError};
use crate::pinned::PinnedMap;

/// Where `struct ct_entry` holds the source identity; the datapath promises not to move it.
const IDENTITY: usize = 44;
const TCP: u8 = 6;

/// The flags of a tuple say who made the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Connections of a workload to elsewhere (`TUPLE_F_OUT`).
    Egress,
    /// Connections to a workload (`TUPLE_F_IN`).
    Ingress,
}

/// `cilium_ct4_global` and `cilium_ct6_global`. Either may be missing: nodes can be of one family.
#[derive(Debug)]
pub struct Conntrack {
    ipv4: PinnedMap,
    ipv6: PinnedMap,
}

impl Conntrack {
    /// The maps below `<root>/tc/globals/`, not opened yet.
    #[must_use]
    pub fn new(client: &Arc<Client>, root: &Path) -> Self {
        let map = |name, layout| PinnedMap::new(Arc::clone(client), root, name, layout);
        Conntrack {
            ipv4: map("cilium_ct4_global", Layout::CONNTRACK4),
            ipv6: map("cilium_ct6_global", Layout::CONNTRACK6),
        }
    }

    /// Opens both maps; what cannot be opened now is tried again by look-ups.
    #[must_use = "a map that is missing is worth a line in the log"]
    pub fn open(&self) -> [Result<(), MapError>; 2] {
        [self.ipv4.open(), self.ipv6.open()]
    }

    /// The maps behind it: IPv4, IPv6.
    #[must_use]
    pub fn maps(&self) -> [&PinnedMap; 2] {
        [&self.ipv4, &self.ipv6]
    }

    /// The source identity of the TCP connection; `None` when it is not tracked, tracked without one, or its addresses
    /// are of two families.
    pub fn source_identity(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        side: Side,
    ) -> Result<Option<u32>, Errno> {
        let entry = match (source, destination) {
            (SocketAddr::V4(_), SocketAddr::V4(_)) => {
                self.ipv4.look_up_or_reopen::<56>(&tuple::<14>(source, destination, side))
            }
            (SocketAddr::V6(_), SocketAddr::V6(_)) => {
                self.ipv6.look_up_or_reopen::<56>(&tuple::<38>(source, destination, side))
            }
            _ => return Ok(None),
        };
        match entry {
            Ok(entry) => Ok(identity(&entry)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

fn identity(entry: &[u8; 56]) -> Option<u32> {
    let bytes = entry.get(IDENTITY..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes)).filter(|identity| *identity != 0)
}

/// `{source, destination, destination port, source port, protocol, side}`, in the network's byte order. N is 14 for
/// IPv4, 38 for IPv6; the caller's addresses are of that family.
fn tuple<const N: usize>(source: SocketAddr, destination: SocketAddr, side: Side) -> [u8; N] {
    let mut key = [0; N];
    let half = (N - 6) / 2;
    for (address, at) in [(source, 0), (destination, half)] {
        match address {
            SocketAddr::V4(address) => key[at..at + half].copy_from_slice(&address.ip().octets()),
            SocketAddr::V6(address) => key[at..at + half].copy_from_slice(&address.ip().octets()),
        }
    }
    key[N - 6..N - 4].copy_from_slice(&destination.port().to_be_bytes());
    key[N - 4..N - 2].copy_from_slice(&source.port().to_be_bytes());
    key[N - 2] = TCP;
    key[N - 1] = u8::from(side == Side::Ingress);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_is_laid_out_as_the_datapath_has_it() {
        let key = tuple::<14>("10.1.1.1:1025".parse().unwrap(), "10.2.2.2:80".parse().unwrap(), Side::Ingress);
        assert_eq!(key, [10, 1, 1, 1, 10, 2, 2, 2, 0, 80, 4, 1, 6, 1]);
        let key = tuple::<38>("[f00d::1]:1025".parse().unwrap(), "[face::2]:80".parse().unwrap(), Side::Egress);
        assert_eq!(key[..2], [0xf0, 0x0d]);
        assert_eq!(key[15..18], [1, 0xfa, 0xce]);
        assert_eq!(key[31..], [2, 0, 80, 4, 1, 6, 0]);
    }

    #[test]
    fn addresses_of_two_families_are_not_tracked() {
        let conntrack = Conntrack::new(&Arc::new(Client::disconnected()), Path::new("/sys/fs/bpf"));
        let found = conntrack.source_identity("10.1.1.1:1".parse().unwrap(), "[::1]:2".parse().unwrap(), Side::Egress);
        assert_eq!(found, Ok(None));
    }
}
