//! Identities of addresses from Cilium's ipcache map.

mod cache;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::client::Client;
use crate::map::{Layout, MapError};
use crate::pinned::PinnedMap;
use cache::{Address, Cache};

/// The map's name where the configuration gives none.
pub const DEFAULT_NAME: &str = "cilium_ipcache";
/// How long an answer may be used where the configuration does not say.
pub const DEFAULT_ENTRY_TTL: Duration = Duration::from_millis(3);
/// How often old answers are thrown away where the configuration does not say.
pub const DEFAULT_GC_INTERVAL: Duration = Duration::from_millis(30);

/// Looks identities up, from any thread, without locks.
#[derive(Debug)]
pub struct IpCache {
    map: PinnedMap,
    cache: Cache,
}

impl IpCache {
    /// The map pinned as `<root>/tc/globals/<name>`, not opened yet. Answers are kept for at most `gc_interval` (zero:
    /// until their time to live is over).
    #[must_use]
    pub fn new(client: Arc<Client>, root: &Path, name: &str, gc_interval: Duration) -> Self {
        IpCache { map: PinnedMap::new(client, root, name, Layout::IPCACHE), cache: Cache::new(gc_interval) }
    }

    /// Opens the map. Look-ups try to do so, too, while it is not open.
    pub fn open(&self) -> Result<(), MapError> {
        self.map.open()
    }

    /// Opens the map again and forgets all answers: an agent that starts anew makes the map anew.
    pub fn reopen(&self) -> Result<(), MapError> {
        let result = self.map.open();
        self.cache.clear();
        result
    }

    /// Changes how often old answers are thrown away.
    pub fn set_gc_interval(&self, interval: Duration) {
        self.cache.set_gc_interval(interval);
    }

    /// The map behind it.
    #[must_use]
    pub fn map(&self) -> &PinnedMap {
        &self.map
    }

    /// The identity of `ip`; `None` where the map has none (or 0, unknown). An answer up to `ttl` old may be used, less
    /// a random part of a millisecond so that entries looked up together do not expire together; zero asks the map.
    pub fn resolve(&self, ip: IpAddr, ttl: Duration) -> Result<Option<u32>, Errno> {
        let address = Address::from(ip);
        if !ttl.is_zero()
            && let Some(identity) = self.cache.get(address, ttl)
        {
            return Ok(Some(identity));
        }
        let asked = self.cache.now();
        let identity = match self.map.look_up::<4>(&key(ip)) {
            Ok(label) => u32::from_ne_bytes(label),
            Err(Errno::NOENT) => 0,
            Err(errno) => return Err(errno),
        };
        if identity == 0 {
            return Ok(None);
        }
        if !ttl.is_zero() {
            self.cache.insert(address, identity, asked);
        }
        Ok(Some(identity))
    }
}

/// The trie's key for one address: all bits of `{cluster 0, pad 0, family, address}`. The length is in the host's byte
/// order, the address in the network's; families are numbered 1 and 2.
fn key(ip: IpAddr) -> [u8; 24] {
    let mut key = [0; 24];
    let (bits, family): (u32, u8) = match ip {
        IpAddr::V4(ip) => {
            key[8..12].copy_from_slice(&ip.octets());
            (32, 1)
        }
        IpAddr::V6(ip) => {
            key[8..].copy_from_slice(&ip.octets());
            (128, 2)
        }
    };
    key[..4].copy_from_slice(&(32 + bits).to_ne_bytes());
    key[7] = family;
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_covers_the_whole_address() {
        let mut ipv4 = [0; 24];
        ipv4[..4].copy_from_slice(&64_u32.to_ne_bytes());
        ipv4[7..12].copy_from_slice(&[1, 10, 1, 2, 3]);
        assert_eq!(key("10.1.2.3".parse().unwrap()), ipv4);

        let mut ipv6 = [0; 24];
        ipv6[..4].copy_from_slice(&160_u32.to_ne_bytes());
        ipv6[7..10].copy_from_slice(&[2, 0xf0, 0x0d]);
        ipv6[23] = 1;
        assert_eq!(key("f00d::1".parse().unwrap()), ipv6);
    }

    #[test]
    fn without_a_map_nothing_resolves() {
        let client = Arc::new(Client::disconnected());
        let ipcache = IpCache::new(client, Path::new("/sys/fs/bpf"), DEFAULT_NAME, DEFAULT_GC_INTERVAL);
        assert_eq!(ipcache.open().unwrap_err().errno(), Some(Errno::PERM));
        assert_eq!(ipcache.resolve("10.0.0.1".parse().unwrap(), DEFAULT_ENTRY_TTL), Err(Errno::BADF));
    }
}
