//! NPHDS: identities of addresses. The longest prefix wins, IPv4 and IPv6 apart.

mod entry;
mod levels;
mod sharded;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cilium_proto::cilium::NetworkPolicyHosts;
use prost::Message;

use crate::decode::{At, FieldError};
use crate::hosts::entry::Host;
use crate::hosts::levels::Levels;
use crate::hosts::sharded::Sharded;
use crate::update::{Rejected, UpdateKind};

/// A set of changes to the named resources. Names are identities in decimal.
#[derive(Debug, Clone, Copy)]
pub struct HostUpdate<'a> {
    /// The sender's version.
    pub version: &'a str,
    /// Whether `upserts` is all there is, or what changed.
    pub kind: UpdateKind,
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
    v4: Levels<u32>,
    v6: Levels<u128>,
    /// The prefixes of each identity: a change finds them without a look at the others.
    of_identity: Sharded<u32, Arc<[Host]>>,
}

impl HostMap {
    /// Applies an update whole, or refuses it.
    pub fn update(&self, update: &HostUpdate<'_>) -> Result<Self, Rejected> {
        let delta = update.kind == UpdateKind::Delta;
        let mut map = if delta && !update.new_stream { self.clone() } else { Self::default() };
        let mut messages = Vec::with_capacity(update.upserts.len());
        for (name, bytes) in update.upserts {
            let message = NetworkPolicyHosts::decode(*bytes).map_err(|error| {
                Rejected::resource_problem(name, format!("not a NetworkPolicyHosts message: {error}"))
            })?;
            let identity = u32::try_from(message.policy).map_err(|_| {
                let problem = format!("{} is above {}, the last identity", message.policy, u32::MAX);
                Rejected::field_problem(name, None, FieldError::new("policy", problem))
            })?;
            messages.push((*name, identity, message.host_addresses));
        }
        if delta {
            for (_, identity, _) in &messages {
                map.remove(*identity);
            }
            for name in update.removed {
                if let Some(identity) = removed_identity(name)? {
                    map.remove(identity);
                }
            }
        }
        for (name, identity, hosts) in &messages {
            map.insert_all(*identity, hosts).map_err(|error| Rejected::field_problem(name, None, error))?;
        }
        Ok(map)
    }

    /// The identity of an address; `None` if no prefix holds it, or one of identity 0, which stands for unknown.
    #[must_use]
    pub fn resolve(&self, address: IpAddr) -> Option<u32> {
        let identity = match address {
            IpAddr::V4(v4) => self.v4.resolve(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.resolve(v6.to_bits()),
        };
        identity.filter(|identity| *identity != 0)
    }

    /// Number of prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is no prefix.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn insert_all(&mut self, identity: u32, hosts: &[String]) -> Result<(), FieldError> {
        let mut seen = BTreeSet::new();
        // Two resources may be about one identity.
        let mut list = self.of_identity.get(&identity).map_or_else(Vec::new, |known| known.to_vec());
        list.reserve_exact(hosts.len());
        for (index, host) in hosts.iter().enumerate() {
            let inserted = if host.is_empty() {
                Err("must not be empty".to_owned())
            } else if seen.insert(host) {
                self.insert(identity, host)
            } else {
                Err(format!("NetworkPolicyHosts: Duplicate host entry '{host}' for policy {identity}"))
            };
            let inserted = inserted.map_err(|problem| FieldError::new("", problem));
            list.push(inserted.at_index("host_addresses", index)?);
        }
        if !list.is_empty() {
            self.of_identity.insert(identity, list.into());
        }
        Ok(())
    }

    fn insert(&mut self, identity: u32, text: &str) -> Result<Host, String> {
        let host = Host::parse(text, identity)?;
        let existing = match host {
            Host::V4(address, length) => self.v4.insert(address, length, identity),
            Host::V6(address, length) => self.v6.insert(address, length, identity),
        };
        match existing {
            None => Ok(host),
            Some(existing) => Err(format!(
                "NetworkPolicyHosts: Duplicate host entry '{text}' for policy {identity}, already mapped to {existing}"
            )),
        }
    }

    /// Removes all prefixes of an identity.
    fn remove(&mut self, identity: u32) {
        for host in self.of_identity.remove(&identity).iter().flat_map(|list| list.iter()) {
            match *host {
                Host::V4(address, length) => self.v4.remove(address, length),
                Host::V6(address, length) => self.v6.remove(address, length),
            }
        }
    }
}

/// The identity in the name of a removed resource. One that is too large was never there.
fn removed_identity(name: &str) -> Result<Option<u32>, Rejected> {
    let invalid = || Rejected::resource_problem(name, format!("Invalid removed resource name '{name}'"));
    if !name.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    let identity: u64 = name.parse().map_err(|_| invalid())?;
    Ok(u32::try_from(identity).ok())
}
