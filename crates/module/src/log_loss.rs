//! Access log entries that nobody takes: a line in Envoy's log when that begins and ends, and a counter.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cilium_abi::bootstrap::Scheduler;
use cilium_abi::log::{Level, log};
use cilium_accesslog::{Dropped, Observer};

/// Of all access logs of the process.
pub(crate) static LOSS: Loss = Loss { dropped: AtomicU64::new(0), main: Mutex::new(None) };

pub(crate) struct Loss {
    /// Entries that the main thread has not counted yet.
    dropped: AtomicU64,
    /// How the main thread hears of them, and as which event.
    main: Mutex<Option<(Scheduler, u64)>>,
}

impl Loss {
    /// Has the main thread be told by an event; `None`: no longer.
    pub(crate) fn report_to(&self, main: Option<(Scheduler, u64)>) {
        *self.main.lock().unwrap_or_else(PoisonError::into_inner) = main;
    }

    /// Entries dropped since this was last asked.
    pub(crate) fn take(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

impl Observer for Loss {
    fn lost(&self, path: &Path, reason: Dropped) {
        let why = match reason {
            Dropped::Absent => "nobody listens there",
            Dropped::Full => "the receiver does not keep up",
            Dropped::Oversized => "an entry is larger than a packet may be",
            Dropped::Failed => "the socket cannot be used, which its permissions may be the reason of",
        };
        log(Level::Warn, &format!("access log {}: {why}; entries are dropped", path.display()));
    }

    fn found(&self, path: &Path, dropped: u64) {
        log(Level::Info, &format!("access log {}: entries are sent again, {dropped} were dropped", path.display()));
    }

    fn dropped(&self, count: u64) {
        let before = self.dropped.fetch_add(count, Ordering::Relaxed);
        // Else the main thread has been told already, and has not asked yet.
        if before == 0
            && let Some((scheduler, event)) = &*self.main.lock().unwrap_or_else(PoisonError::into_inner)
        {
            scheduler.commit(*event);
        }
    }
}
