//! The service's open maps: opened once below the allowed roots, found again by the kernel's id.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use crate::root::BpfRoot;
use crate::sys::ReadableMap;
use crate::wire::{MAX_KEY, MAX_VALUE};

/// Maps kept open for look-ups: three per Envoy, old and new ones while the agent replaces them. The least recently
/// opened one is closed for a new one.
const MAX_OPEN: usize = 32;

#[derive(Debug)]
pub(crate) struct Opener {
    roots: Vec<BpfRoot>,
    open: Mutex<VecDeque<Arc<ReadableMap>>>,
}

impl Opener {
    pub(crate) fn new(roots: Vec<BpfRoot>) -> Self {
        Opener { roots, open: Mutex::default() }
    }

    /// Opens a pinned map. `EACCES` when it is below no root, `EMSGSIZE` when it is wider than a packet.
    pub(crate) fn open(&self, path: &[u8]) -> Result<Arc<ReadableMap>, Errno> {
        let mut result = Err(Errno::ACCESS);
        for root in &self.roots {
            result = root.open(path);
            if !matches!(result, Err(Errno::ACCESS)) {
                break;
            }
        }
        let map = result?;
        let fits = |size: u32, most: usize| usize::try_from(size).is_ok_and(|size| size <= most);
        if !fits(map.info().key_size, MAX_KEY) || !fits(map.info().value_size, MAX_VALUE) {
            return Err(Errno::MSGSIZE);
        }
        let map = Arc::new(map);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.info().id != map.info().id);
        if open.len() == MAX_OPEN {
            open.pop_front();
        }
        open.push_back(Arc::clone(&map));
        Ok(map)
    }

    /// The open map with this id. `ESTALE` when there is none.
    pub(crate) fn find(&self, id: u32) -> Result<Arc<ReadableMap>, Errno> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().find(|map| map.info().id == id).cloned().ok_or(Errno::STALE)
    }
}
