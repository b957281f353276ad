//! A map by the name it is pinned as, which the agent may replace at any time: opened, opened again, never waited for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rustix::io::Errno;

use crate::client::Client;
use crate::map::{Layout, Map, MapError};
use crate::root::global_map;
use crate::wire::MAX_VALUE;

/// At most so often does a failed look-up open the map again.
const REOPEN_INTERVAL: Duration = Duration::from_millis(100);

/// A pinned map. Readers take no lock; the one whose look-up failed may open it again, the others go on.
#[derive(Debug)]
pub struct PinnedMap {
    client: Arc<Client>,
    path: Vec<u8>,
    layout: Layout,
    map: ArcSwapOption<Map>,
    start: Instant,
    /// Nanoseconds after `start` before which no failed look-up opens the map.
    next_open: AtomicU64,
}

impl PinnedMap {
    /// The map pinned as `<root>/tc/globals/<name>`, not opened yet.
    #[must_use]
    pub fn new(client: Arc<Client>, root: &Path, name: &str, layout: Layout) -> Self {
        PinnedMap {
            client,
            path: global_map(root, name),
            layout,
            map: ArcSwapOption::empty(),
            start: Instant::now(),
            next_open: AtomicU64::new(0),
        }
    }

    /// The path it is pinned at, for messages.
    #[must_use]
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    /// The map in use.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Map>> {
        self.map.load_full()
    }

    /// Opens the map, again if it was open: what is pinned there may be another one now. On an error, none is in use.
    pub fn open(&self) -> Result<(), MapError> {
        self.put_off_opening();
        match Map::open(&self.client, &self.path, &self.layout) {
            Ok(map) => {
                self.map.store(Some(Arc::new(map)));
                Ok(())
            }
            Err(error) => {
                self.map.store(None);
                Err(error)
            }
        }
    }

    /// Looks `key` up; the first bytes of the value go into `value`. A map that was not open is opened, one that fails
    /// (other than by having no such entry) is opened again and asked again.
    pub fn look_up<const N: usize>(&self, key: &[u8]) -> Result<[u8; N], Errno> {
        let outcome = self.try_look_up(key);
        match outcome {
            Ok(_) | Err(Errno::NOENT) => outcome,
            Err(_) if self.claim_opening() && self.open().is_ok() => self.try_look_up(key),
            Err(_) => outcome,
        }
    }

    /// [`PinnedMap::look_up`] that takes a missing entry, too, for a sign that another map is pinned there now.
    pub fn look_up_or_reopen<const N: usize>(&self, key: &[u8]) -> Result<[u8; N], Errno> {
        let outcome = self.look_up(key);
        if outcome != Err(Errno::NOENT) || !self.claim_opening() {
            return outcome;
        }
        let before = self.current().map(|map| map.info().id);
        match self.open() {
            Ok(()) if self.current().map(|map| map.info().id) != before => self.try_look_up(key),
            _ => outcome,
        }
    }

    fn try_look_up<const N: usize>(&self, key: &[u8]) -> Result<[u8; N], Errno> {
        let map = self.map.load();
        let map = map.as_ref().ok_or(Errno::BADF)?;
        let mut buffer = [0; MAX_VALUE];
        let value = map.look_up(&self.client, key, &mut buffer)?;
        value.first_chunk().copied().ok_or(Errno::MSGSIZE)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn after_interval(&self) -> u64 {
        self.now().saturating_add(u64::try_from(REOPEN_INTERVAL.as_nanos()).unwrap_or(u64::MAX))
    }

    fn put_off_opening(&self) {
        self.next_open.store(self.after_interval(), Ordering::Relaxed);
    }

    /// Whether the caller is the one to open the map now.
    fn claim_opening(&self) -> bool {
        let due = self.next_open.load(Ordering::Relaxed);
        self.now() >= due
            && self.next_open.compare_exchange(due, self.after_interval(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
