//! The private socket option level that `libcilium_sockets.so` gives a meaning to.
//!
//! Without the library the kernel refuses the level (`ENOPROTOOPT`) and Envoy fails the connection. The values are what
//! Envoy's socket options can carry: four-byte integers and bytes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The level: `CIL`. The kernel's levels are all below 300.
pub const LEVEL: i32 = 0x0043_494C;

/// Value: one `sockaddr_in`, one `sockaddr_in6`, or both one after the other. The socket is made transparent where that
/// is permitted, and bound to the address of its family: the address only where the port is 0 (the port is then chosen
/// on connect), else both. A socket of a family with no address here is left as it is.
pub const SOURCE_ADDRESS: i32 = 1;
/// As [`SOURCE_ADDRESS`], but decided and done in connect(2), where the destination is known: a socket that connects to
/// the source address itself, or to what [`crate::local_destination`] calls local, is left as it is. For clusters whose
/// host is chosen after the options are set.
pub const SOURCE_ADDRESS_ON_CONNECT: i32 = 5;
/// Value: u32. `SO_MARK`.
pub const MARK: i32 = 2;
/// Value: u32, seconds. `SO_LINGER`, on a socket that an earlier option bound (or will bind, on connect) to a port;
/// others are left as they are. Seconds of 0 reset the connection when it is closed, which frees the port at once.
pub const LINGER: i32 = 3;
/// Value: u32, not 0. `IP_TRANSPARENT` or `IPV6_TRANSPARENT`, whichever the socket's family has. For listeners.
pub const TRANSPARENT: i32 = 4;

const IPV4: usize = 16;
const IPV6: usize = 28;

/// The value of `SOURCE_ADDRESS`: an address for sockets of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceAddresses {
    /// For IPv4 sockets.
    pub ipv4: Option<SocketAddrV4>,
    /// For IPv6 sockets.
    pub ipv6: Option<SocketAddrV6>,
}

impl SourceAddresses {
    /// The value's bytes; empty, and no value, when there is no address.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(IPV4 + IPV6);
        if let Some(address) = self.ipv4 {
            bytes.extend(family(libc::AF_INET).to_ne_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend([0; 8]);
        }
        if let Some(address) = self.ipv6 {
            bytes.extend(family(libc::AF_INET6).to_ne_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.flowinfo().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend(address.scope_id().to_ne_bytes());
        }
        bytes
    }

    /// Reads a value; `None` when it is not one or two whole addresses of different families. Does not allocate.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut addresses = SourceAddresses::default();
        while !bytes.is_empty() {
            let (number, _) = bytes.split_first_chunk()?;
            let number = u16::from_ne_bytes(*number);
            if number == family(libc::AF_INET) && addresses.ipv4.is_none() {
                let (address, rest) = bytes.split_first_chunk()?;
                addresses.ipv4 = Some(ipv4(address));
                bytes = rest;
            } else if number == family(libc::AF_INET6) && addresses.ipv6.is_none() {
                let (address, rest) = bytes.split_first_chunk()?;
                addresses.ipv6 = Some(ipv6(address));
                bytes = rest;
            } else {
                return None;
            }
        }
        (addresses != SourceAddresses::default()).then_some(addresses)
    }
}

impl From<SocketAddr> for SourceAddresses {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => SourceAddresses { ipv4: Some(address), ipv6: None },
            SocketAddr::V6(address) => SourceAddresses { ipv4: None, ipv6: Some(address) },
        }
    }
}

// Both families are small numbers.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn family(number: libc::c_int) -> u16 {
    number as u16
}

fn ipv4(bytes: &[u8; IPV4]) -> SocketAddrV4 {
    let [_, _, p0, p1, a, b, c, d, ..] = *bytes;
    SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p0, p1]))
}

fn ipv6(bytes: &[u8; IPV6]) -> SocketAddrV6 {
    let [_, _, p0, p1, f0, f1, f2, f3, address @ .., s0, s1, s2, s3] = *bytes;
    SocketAddrV6::new(
        Ipv6Addr::from(address),
        u16::from_be_bytes([p0, p1]),
        u32::from_be_bytes([f0, f1, f2, f3]),
        u32::from_ne_bytes([s0, s1, s2, s3]),
    )
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn addresses() -> impl Strategy<Value = SourceAddresses> {
        let ipv4 = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddrV4::new(ip.into(), port));
        let ipv6 = (any::<[u8; 16]>(), any::<u16>(), any::<u32>(), any::<u32>())
            .prop_map(|(ip, port, flow, scope)| SocketAddrV6::new(ip.into(), port, flow, scope));
        (option::of(ipv4), option::of(ipv6)).prop_map(|(ipv4, ipv6)| SourceAddresses { ipv4, ipv6 })
    }

    proptest! {
        #[test]
        fn addresses_arrive_as_they_were_sent(addresses in addresses()) {
            let expected = (addresses != SourceAddresses::default()).then_some(addresses);
            prop_assert_eq!(SourceAddresses::decode(&addresses.encode()), expected);
        }

        #[test]
        fn any_bytes_are_addresses_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(addresses) = SourceAddresses::decode(&bytes) {
                prop_assert!(addresses.encode().len() == bytes.len());
            }
        }

        #[test]
        fn cut_addresses_are_refused(addresses in addresses(), cut in 1_usize..16) {
            let bytes = addresses.encode();
            prop_assume!(bytes.len() > cut);
            prop_assert_eq!(SourceAddresses::decode(&bytes[..bytes.len() - cut]), None);
        }
    }

    #[test]
    fn the_bytes_are_those_of_sockaddr_in() {
        let value = SourceAddresses::from("10.1.2.3:80".parse::<SocketAddr>().unwrap()).encode();
        let mut expected = 2_u16.to_ne_bytes().to_vec();
        expected.extend([0, 80, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(value, expected);
    }

    #[test]
    fn two_addresses_of_one_family_are_refused() {
        let one = SourceAddresses::from("10.1.2.3:80".parse::<SocketAddr>().unwrap()).encode();
        assert_eq!(SourceAddresses::decode(&[one.clone(), one].concat()), None);
    }
}
