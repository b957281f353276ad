//! NPHDS: identities of addresses. Longest prefix wins, IPv4 and IPv6 apart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use cilium_proto::cilium::NetworkPolicyHosts;
use prost::Message;

use crate::update::Rejected;

/// A set of changes to the named resources. Names are identities in decimal.
#[derive(Debug, Clone, Copy)]
pub struct HostUpdate<'a> {
    /// The sender's version, for messages.
    pub version: &'a str,
    /// Whether `upserts` is all there is, or what changed.
    pub kind: crate::UpdateKind,
    /// The stream to the sender was opened anew since the last accepted update: nothing of the old one is kept.
    pub new_stream: bool,
    /// Resource names with serialised `cilium.NetworkPolicyHosts` messages.
    pub upserts: &'a [(&'a str, &'a [u8])],
    /// Names of removed resources. Without effect in a full update.
    pub removed: &'a [&'a str],
}

/// Identities by address prefix; immutable.
#[derive(Debug, Clone, Default)]
pub struct HostMap {
    /// By prefix length, longest first.
    v4: Vec<(u32, Arc<HashMap<u32, u64>>)>,
    v6: Vec<(u32, Arc<HashMap<u128, u64>>)>,
}

impl HostMap {
    /// Applies an update whole, or refuses it.
    pub fn update(&self, update: &HostUpdate<'_>) -> Result<Self, Rejected> {
        let delta = update.kind == crate::UpdateKind::Delta;
        let mut map = if delta && !update.new_stream { self.clone() } else { Self::default() };
        let mut messages = Vec::with_capacity(update.upserts.len());
        for (name, bytes) in update.upserts {
            messages.push(NetworkPolicyHosts::decode(*bytes).map_err(|error| {
                Rejected::resource_problem(name, format!("not a NetworkPolicyHosts message: {error}"))
            })?);
        }
        if delta {
            for name in update.removed {
                let identity = name
                    .parse()
                    .map_err(|_| Rejected::resource_problem(name, format!("Invalid removed resource name '{name}'")))?;
                map.remove(identity);
            }
            for message in &messages {
                map.remove(message.policy);
            }
        }
        for message in &messages {
            for host in &message.host_addresses {
                map.insert(host, message.policy)
                    .map_err(|problem| Rejected::resource_problem(&message.policy.to_string(), problem))?;
            }
        }
        Ok(map)
    }

    /// The identity of an address; `None` if no prefix holds it.
    #[must_use]
    pub fn resolve(&self, address: IpAddr) -> Option<u32> {
        let identity = match address {
            IpAddr::V4(v4) => self.v4.iter().find_map(|(len, map)| map.get(&(v4.to_bits() & mask4(*len)))),
            IpAddr::V6(v6) => self.v6.iter().find_map(|(len, map)| map.get(&(v6.to_bits() & mask6(*len)))),
        };
        identity.and_then(|id| u32::try_from(*id).ok())
    }

    fn remove(&mut self, identity: u64) {
        for (_, map) in &mut self.v4 {
            Arc::make_mut(map).retain(|_, id| *id != identity);
        }
        for (_, map) in &mut self.v6 {
            Arc::make_mut(map).retain(|_, id| *id != identity);
        }
    }

    fn insert(&mut self, host: &str, identity: u64) -> Result<(), String> {
        let (address, len) = match host.split_once('/') {
            Some((address, len)) => (address, Some(parse_len(len, host)?)),
            None => (host, None),
        };
        let invalid = || format!("NetworkPolicyHosts: Invalid host entry '{host}' for policy {identity}");
        let existing = match address.parse().map_err(|_| invalid())? {
            IpAddr::V4(v4) => {
                let len = check(v4.to_bits().into(), 32, len, host)?;
                let map = level(&mut self.v4, len);
                *map.entry(v4.to_bits()).or_insert(identity)
            }
            IpAddr::V6(v6) => {
                let len = check(v6.to_bits(), 128, len, host)?;
                let map = level(&mut self.v6, len);
                *map.entry(v6.to_bits()).or_insert(identity)
            }
        };
        if existing == identity { Ok(()) } else { Err(invalid()) }
    }
}

fn level<A: Clone>(levels: &mut Vec<(u32, Arc<HashMap<A, u64>>)>, len: u32) -> &mut HashMap<A, u64> {
    let index = levels.partition_point(|(l, _)| *l > len);
    if levels.get(index).is_none_or(|(l, _)| *l != len) {
        levels.insert(index, (len, Arc::default()));
    }
    Arc::make_mut(&mut levels[index].1)
}

fn parse_len(text: &str, host: &str) -> Result<u32, String> {
    let valid = text.bytes().all(|b| b.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    let len = text.parse().ok().filter(|_| valid);
    len.ok_or_else(|| format!("NetworkPolicyHosts: Invalid prefix length in '{host}'"))
}

fn check(bits: u128, max: u32, len: Option<u32>, host: &str) -> Result<u32, String> {
    let len = len.unwrap_or(max);
    if len > max {
        return Err(format!("NetworkPolicyHosts: Invalid prefix length in '{host}'"));
    }
    if bits & !(u128::MAX.checked_shl(max - len).unwrap_or(0)) != 0 {
        return Err(format!("NetworkPolicyHosts: Non-prefix bits set in '{host}'"));
    }
    Ok(len)
}

fn mask4(len: u32) -> u32 {
    u32::MAX.checked_shl(32 - len).unwrap_or(0)
}

fn mask6(len: u32) -> u128 {
    u128::MAX.checked_shl(128 - len).unwrap_or(0)
}
