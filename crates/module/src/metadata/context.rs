//! The part of the metadata that a connection's filters read, as bytes in Envoy's filter state.

use std::net::IpAddr;
use std::sync::Arc;

use cilium_channel::State;
use cilium_policy::EndpointPolicy;

use crate::identities::Source;
use crate::metadata::{Metadata, WORLD};

const INGRESS: u8 = 1;
const L7LB: u8 = 2;
const ALLOW_EGRESS: u8 = 4;

/// Fixed part: source of identities, flags, family of the destination (0, 4 or 6), two ports, two identities, destination, length of `pod`.
const FIXED: usize = 33;

/// A decoded context; borrows from the filter state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context<'c> {
    pub(crate) identities: Source,
    pub(crate) ingress: bool,
    pub(crate) l7lb: bool,
    pub(crate) allow_egress: bool,
    pub(crate) proxy_id: u16,
    pub(crate) port: u16,
    pub(crate) source_identity: u32,
    pub(crate) ingress_source_identity: u32,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) pod: &'c str,
    pub(crate) ingress_policy: &'c str,
}

impl<'c> Context<'c> {
    /// The filter state key.
    pub(crate) const KEY: &'static str = "cilium.policy";

    /// The bytes for the filter state.
    pub(crate) fn encode(metadata: &Metadata, identities: Source) -> Vec<u8> {
        let mut flags = 0;
        for (flag, set) in [(INGRESS, metadata.ingress), (L7LB, metadata.l7lb), (ALLOW_EGRESS, metadata.allow_egress)] {
            flags |= if set { flag } else { 0 };
        }
        let (family, address) = match metadata.destination {
            None => (0, [0; 16]),
            Some(IpAddr::V4(ip)) => (4, ip.to_ipv6_mapped().octets()),
            Some(IpAddr::V6(ip)) => (6, ip.octets()),
        };
        // Names are addresses or short; a longer one is cut and then matches no policy.
        let pod = &metadata.pod.as_bytes()[..metadata.pod.len().min(usize::from(u16::MAX))];
        let mut bytes = Vec::with_capacity(FIXED + pod.len() + metadata.ingress_policy.len());
        bytes.extend([identities.number(), flags, family]);
        bytes.extend(metadata.proxy_id.to_be_bytes());
        bytes.extend(metadata.port.to_be_bytes());
        bytes.extend(metadata.source_identity.to_be_bytes());
        bytes.extend(metadata.ingress_source_identity.to_be_bytes());
        bytes.extend(address);
        bytes.extend(u16::try_from(pod.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(pod);
        bytes.extend(metadata.ingress_policy.as_bytes());
        bytes
    }

    /// Reads the bytes back; `None` when they are not what [`Context::encode`] makes.
    pub(crate) fn decode(bytes: &'c [u8]) -> Option<Self> {
        let (fixed, names) = bytes.split_first_chunk::<FIXED>()?;
        let u16_at = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let mut octets = [0; 16];
        octets.copy_from_slice(&fixed[15..31]);
        let address = std::net::Ipv6Addr::from(octets);
        let destination = match fixed[2] {
            0 => None,
            4 => Some(IpAddr::V4(address.to_ipv4_mapped()?)),
            6 => Some(IpAddr::V6(address)),
            _ => return None,
        };
        let (pod, ingress_policy) = names.split_at_checked(usize::from(u16_at(31)))?;
        Some(Self {
            identities: Source::numbered(fixed[0]),
            ingress: fixed[1] & INGRESS != 0,
            l7lb: fixed[1] & L7LB != 0,
            allow_egress: fixed[1] & ALLOW_EGRESS != 0,
            proxy_id: u16_at(3),
            port: u16_at(5),
            source_identity: u32_at(7),
            ingress_source_identity: u32_at(11),
            destination,
            pod: std::str::from_utf8(pod).ok()?,
            ingress_policy: std::str::from_utf8(ingress_policy).ok()?,
        })
    }

    /// The identity of an address; unknown ones are the world.
    pub(crate) fn identity(&self, state: &State, address: IpAddr) -> u32 {
        self.identities.resolve(&state.hosts, address).unwrap_or(WORLD)
    }

    /// The policy of that name, in the eyes of the connection's listener.
    pub(crate) fn policy<'s>(&self, state: &'s State, name: &str) -> &'s Arc<EndpointPolicy> {
        let name = if self.identities == Source::NOBODY { "" } else { name };
        state.policies.policy(name, self.allow_egress)
    }
}
