//! A pinned map as a client sees it: its layout checked, its look-ups by the fastest way that is allowed.

use std::fmt;
use std::ops::RangeInclusive;

use rustix::io::Errno;

use crate::client::Client;
use crate::sys::{MapInfo, ReadableMap};
use crate::wire::{MAX_KEY, MAX_VALUE};

const HASH: u32 = 1;
const LRU_HASH: u32 = 9;
const LPM_TRIE: u32 = 11;

/// What a map must be for its bytes to mean what the reader takes them for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    kinds: &'static [u32],
    key_size: u32,
    value_sizes: RangeInclusive<u32>,
}

impl Layout {
    /// Cilium's ipcache: a trie over `{prefix length u32, cluster id u16, pad u8, family u8, address [u8; 16]}`. Values
    /// start with the identity; 12 bytes with an IPv4 tunnel endpoint (`cilium_ipcache`), 24 with one of either family
    /// (`cilium_ipcache_v2`). What may follow the identity in other versions is not read.
    pub const IPCACHE: Layout = Layout { kinds: &[LPM_TRIE], key_size: 24, value_sizes: 4..=64 };
    /// `cilium_ct4_global`: tuples of 14 bytes, `struct ct_entry` with the source identity at byte 44.
    pub const CONNTRACK4: Layout = Layout { kinds: &[LRU_HASH, HASH], key_size: 14, value_sizes: 56..=56 };
    /// `cilium_ct6_global`: tuples of 38 bytes, the same entries.
    pub const CONNTRACK6: Layout = Layout { kinds: &[LRU_HASH, HASH], key_size: 38, value_sizes: 56..=56 };

    fn check(&self, info: &MapInfo) -> Result<(), String> {
        if !self.kinds.contains(&info.map_type) {
            let wanted: Vec<_> = self.kinds.iter().map(|kind| Kind(*kind).to_string()).collect();
            return Err(format!("is a {} map, not {}", Kind(info.map_type), wanted.join(" or ")));
        }
        if info.key_size != self.key_size {
            return Err(format!("has keys of {} bytes, not {}", info.key_size, self.key_size));
        }
        if !self.value_sizes.contains(&info.value_size) {
            let (least, most) = (self.value_sizes.start(), self.value_sizes.end());
            let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            return Err(format!("has values of {} bytes, not {wanted}", info.value_size));
        }
        Ok(())
    }
}

struct Kind(u32);

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            HASH => formatter.write_str("hash"),
            LRU_HASH => formatter.write_str("LRU hash"),
            LPM_TRIE => formatter.write_str("LPM trie"),
            other => write!(formatter, "type {other}"),
        }
    }
}

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("BPF map {path}: {cause}")]
pub struct MapError {
    path: String,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}; this proxy does not know that layout")]
    Layout(String),
    #[error("{}", explain(*.0))]
    Open(Errno),
}

impl MapError {
    pub(crate) fn open(path: &[u8], errno: Errno) -> Self {
        MapError { path: String::from_utf8_lossy(path).into_owned(), cause: Cause::Open(errno) }
    }

    /// The system's error, where the map could not be opened.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Open(errno) => Some(errno),
            Cause::Layout(_) => None,
        }
    }
}

fn explain(errno: Errno) -> String {
    let hint = match errno {
        Errno::NOENT => "no such map; the agent makes it when it starts",
        Errno::PERM => "not permitted; the supervisor needs CAP_BPF or CAP_SYS_ADMIN, and Envoy its privileged service",
        Errno::ACCESS => "not below an allowed BPF root, or its permissions forbid it",
        Errno::XDEV => "a link on the way leaves the BPF root",
        Errno::MEDIUMTYPE => "neither a hash nor an LPM trie; this proxy does not know that layout",
        Errno::MSGSIZE => "keys or values too long; this proxy does not know that layout",
        Errno::TIMEDOUT | Errno::PIPE | Errno::CONNRESET => "the privileged service does not answer",
        _ => return format!("cannot be opened: {errno}"),
    };
    hint.into()
}

/// An open map.
#[derive(Debug)]
pub struct Map {
    info: MapInfo,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// bpf(2) on the descriptor the service passed: Linux 5.19 and newer allow it to anybody who has the descriptor.
    Direct(ReadableMap),
    /// The service looks up: older kernels with `kernel.unprivileged_bpf_disabled` set refuse all of bpf(2).
    Service,
}

impl Map {
    /// Has the service open the map pinned at the absolute `path`, and checks its layout.
    pub fn open(client: &Client, path: &[u8], layout: &Layout) -> Result<Self, MapError> {
        let (info, fd) = client.open_map(path).map_err(|errno| MapError::open(path, errno))?;
        layout.check(&info).map_err(|what| MapError {
            path: String::from_utf8_lossy(path).into_owned(),
            cause: Cause::Layout(what),
        })?;
        let direct = ReadableMap::inspect(fd).ok().filter(|map| *map.info() == info && may_look_up(map));
        Ok(Map { info, way: direct.map_or(Way::Service, Way::Direct) })
    }

    /// What the kernel says of it.
    #[must_use]
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Whether look-ups need no help of the service.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        matches!(self.way, Way::Direct(_))
    }

    /// Looks `key` up: the value's bytes, in `buffer`. `ENOENT` when there is no entry. Does not allocate.
    pub fn look_up<'b>(&self, client: &Client, key: &[u8], buffer: &'b mut [u8; MAX_VALUE]) -> Result<&'b [u8], Errno> {
        let length = usize::try_from(self.info.value_size).map_err(|_| Errno::MSGSIZE)?;
        let value = buffer.get_mut(..length).ok_or(Errno::MSGSIZE)?;
        match &self.way {
            Way::Direct(map) => map.look_up(key, value)?,
            Way::Service => client.look_up(self.info.id, key, value)?,
        }
        Ok(value)
    }
}

/// Tries a look-up of zeros: found or not, it says whether this process may look up at all.
fn may_look_up(map: &ReadableMap) -> bool {
    let sizes = (usize::try_from(map.info().key_size), usize::try_from(map.info().value_size));
    let (Ok(key_size), Ok(value_size)) = sizes else { return false };
    let (key, mut value) = ([0; MAX_KEY], [0; MAX_VALUE]);
    let (Some(key), Some(value)) = (key.get(..key_size), value.get_mut(..value_size)) else { return false };
    matches!(map.look_up(key, value), Ok(()) | Err(Errno::NOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(map_type: u32, key_size: u32, value_size: u32) -> MapInfo {
        MapInfo { map_type, key_size, value_size, ..MapInfo::default() }
    }

    #[test]
    fn both_ipcache_layouts_are_known() {
        assert_eq!(Layout::IPCACHE.check(&info(LPM_TRIE, 24, 12)), Ok(()));
        assert_eq!(Layout::IPCACHE.check(&info(LPM_TRIE, 24, 24)), Ok(()));
    }

    #[test]
    fn another_layout_is_named() {
        let check = |layout: Layout, info| layout.check(&info).unwrap_err();
        assert_eq!(check(Layout::IPCACHE, info(HASH, 24, 12)), "is a hash map, not LPM trie");
        assert_eq!(check(Layout::IPCACHE, info(LPM_TRIE, 20, 12)), "has keys of 20 bytes, not 24");
        assert_eq!(check(Layout::IPCACHE, info(LPM_TRIE, 24, 2)), "has values of 2 bytes, not 4 to 64");
        assert_eq!(check(Layout::CONNTRACK4, info(LPM_TRIE, 14, 56)), "is a LPM trie map, not LRU hash or hash");
        assert_eq!(check(Layout::CONNTRACK6, info(LRU_HASH, 38, 48)), "has values of 48 bytes, not 56");
    }

    #[test]
    fn an_error_names_the_map_and_what_to_do() {
        let error = MapError::open(b"/sys/fs/bpf/tc/globals/m", Errno::NOENT);
        assert_eq!(
            error.to_string(),
            "BPF map /sys/fs/bpf/tc/globals/m: no such map; the agent makes it when it starts"
        );
        assert_eq!(error.errno(), Some(Errno::NOENT));
    }

    #[test]
    fn without_a_service_no_map_is_opened() {
        let error = Map::open(&Client::disconnected(), b"/sys/fs/bpf/m", &Layout::IPCACHE).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::PERM));
    }
}
