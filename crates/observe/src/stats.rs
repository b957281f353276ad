//! What became of the entries.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that threads change and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// Counts of a receiver since its start.
#[derive(Debug, Default)]
pub struct Received {
    /// Connections there are now.
    pub senders: Counter,
    /// Entries that arrived, whatever became of them.
    pub received: Counter,
    /// What stood in the place of a length in a stream, and was none.
    pub malformed: Counter,
    /// Packets that were larger than 64 KiB.
    pub truncated: Counter,
}

/// Counts of a destination since it was opened.
#[derive(Debug, Default)]
pub struct Written {
    /// What came as entries and was none.
    pub malformed: Counter,
    /// Entries that the destination took.
    pub written: Counter,
    /// Entries lost because the destination failed.
    pub failed: Counter,
}

impl Counter {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, count: usize) {
        self.0.store(count as u64, Ordering::Relaxed);
    }
}
