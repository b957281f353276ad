//! Where identities of addresses come from, for all listeners of this process.
//!
//! Filters refer to a source by its number, which fits into a connection's filter state: what they ask later, they ask
//! the source that the listener's configuration names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cilium_abi::ConfigError;
use cilium_abi::log::{Level, log};
use cilium_policy::hosts::HostMap;
use cilium_privileged::conntrack::Side;
use cilium_privileged::{Client, Conntrack, IpCache, ipcache, local_destination};
use cilium_proto::cilium::BpfMetadata;

use crate::enforced;
use crate::metadata::{Flow, Identities};

/// Listeners with different ipcaches, or different times to live, that one process can have.
const MAX_CACHES: usize = 254;

/// The connection to the privileged service, if the process was given one.
static CLIENT: LazyLock<Arc<Client>> = LazyLock::new(|| Arc::new(Client::from_env()));

static ROOT: OnceLock<Root> = OnceLock::new();
static CACHES: Mutex<BTreeMap<String, Arc<IpCache>>> = Mutex::new(BTreeMap::new());
// Never emptied: connections refer to sources by number for as long as they live.
static SOURCES: [OnceLock<Cached>; MAX_CACHES] = [const { OnceLock::new() }; MAX_CACHES];

/// The BPF file system of this process; the first listener that names one decides.
struct Root {
    path: String,
    conntrack: Conntrack,
}

struct Cached {
    cache: Arc<IpCache>,
    ttl: Duration,
}

/// A source by its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Source(u8);

impl Source {
    /// Knows no one.
    pub(crate) const NOBODY: Self = Self(0);
    /// The `NetworkPolicyHosts` resources.
    pub(crate) const HOSTS: Self = Self(1);
    const FIRST_CACHE: u8 = 2;

    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    pub(crate) const fn numbered(number: u8) -> Self {
        Self(number)
    }

    /// Opens what a listener's configuration names. A map that is missing now is tried again by look-ups.
    pub(crate) fn open(message: &BpfMetadata) -> Result<Self, ConfigError> {
        if !message.bpf_root.is_empty() {
            open_root(&message.bpf_root)?;
        }
        if message.use_nphds {
            return Ok(Self::HOSTS);
        }
        if message.bpf_root.is_empty() {
            return Ok(Self::NOBODY);
        }
        let name = if message.ipcache_name.is_empty() { ipcache::DEFAULT_NAME } else { &message.ipcache_name };
        let ttl = duration(message.cache_entry_ttl.as_ref(), ipcache::DEFAULT_ENTRY_TTL);
        let gc_interval = duration(message.cache_gc_interval.as_ref(), ipcache::DEFAULT_GC_INTERVAL);
        Self::cached(&open_cache(&message.bpf_root, name, gc_interval), ttl)
    }

    fn cached(cache: &Arc<IpCache>, ttl: Duration) -> Result<Self, ConfigError> {
        for (number, slot) in (Self::FIRST_CACHE..).zip(&SOURCES) {
            let held = slot.get_or_init(|| Cached { cache: Arc::clone(cache), ttl });
            if Arc::ptr_eq(&held.cache, cache) && held.ttl == ttl {
                return Ok(Self(number));
            }
        }
        Err(ConfigError(format!(
            "cilium.bpf_metadata: more than {MAX_CACHES} different ipcache_name and cache_entry_ttl; restart Envoy"
        )))
    }

    /// The identity of an address; `None`: unknown.
    pub(crate) fn resolve(self, hosts: &HostMap, address: IpAddr) -> Option<u32> {
        match self {
            Self::NOBODY => None,
            Self::HOSTS => hosts.resolve(address),
            Self(number) => {
                let cached = SOURCES.get(usize::from(number - Self::FIRST_CACHE))?.get()?;
                // A map that cannot be read knows no one.
                cached.cache.resolve(address, cached.ttl).ok().flatten()
            }
        }
    }
}

/// A source with the host map of one moment.
pub(crate) struct Directory<'s> {
    pub(crate) source: Source,
    pub(crate) hosts: &'s HostMap,
}

impl Identities for Directory<'_> {
    fn resolve(&self, address: IpAddr) -> Option<u32> {
        self.source.resolve(self.hosts, address)
    }

    fn source(&self, flow: Flow, ingress: bool) -> Option<u32> {
        let side = if ingress { Side::Ingress } else { Side::Egress };
        let tracked = ROOT
            .get()
            .and_then(|root| root.conntrack.source_identity(flow.source, flow.destination, side).ok().flatten());
        tracked.or_else(|| self.resolve(flow.source.ip()))
    }
}

/// Opens all ipcaches again: an agent that starts anew makes its maps anew, and opens a new policy stream.
pub(crate) fn reopen() {
    for (name, cache) in &*CACHES.lock().unwrap_or_else(PoisonError::into_inner) {
        if let Err(error) = cache.reopen() {
            log(Level::Warn, &format!("cilium.bpf_metadata: ipcache {name}: {error}"));
        }
    }
}

/// Whether marks are set on upstream sockets: there is a datapath that reads them, or someone who can set them.
pub(crate) fn marks_sockets() -> bool {
    static SHIM: LazyLock<bool> = LazyLock::new(|| local_destination::register(is_local));
    *SHIM || CLIENT.is_connected() || ROOT.get().is_some()
}

/// Whether an address is that of a workload on this node: those have policies.
fn is_local(address: IpAddr) -> bool {
    enforced::load().policies.endpoint(&address.to_string()).is_some()
}

fn open_root(path: &str) -> Result<(), ConfigError> {
    let root = ROOT.get_or_init(|| {
        let conntrack = Conntrack::new(&CLIENT, Path::new(path));
        for error in conntrack.open().into_iter().filter_map(Result::err) {
            log(Level::Warn, &format!("cilium.bpf_metadata: {error}"));
        }
        Root { path: path.to_owned(), conntrack }
    });
    if root.path == path { Ok(()) } else { Err(ConfigError(format!("cilium.bpf_metadata: Invalid bpf_root: {path}"))) }
}

fn open_cache(root: &str, name: &str, gc_interval: Duration) -> Arc<IpCache> {
    let mut caches = CACHES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cache) = caches.get(name) {
        cache.set_gc_interval(gc_interval);
        return Arc::clone(cache);
    }
    let cache = Arc::new(IpCache::new(Arc::clone(&CLIENT), Path::new(root), name, gc_interval));
    if let Err(error) = cache.open() {
        log(Level::Warn, &format!("cilium.bpf_metadata: ipcache {name}: {error}"));
    }
    caches.insert(name.to_owned(), Arc::clone(&cache));
    cache
}

fn duration(given: Option<&prost_types::Duration>, default: Duration) -> Duration {
    given.and_then(|given| Duration::try_from(*given).ok()).unwrap_or(default)
}
