//! What became of the entries.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why an entry was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Nobody listens on the socket, or the next attempt to connect is not due yet.
    Absent,
    /// The receiver does not keep up: its queue of packets, or of connections, is full.
    Full,
    /// Larger than a packet may be, and nothing that can be cut.
    Oversized,
    /// The socket refused for another reason, such as missing permission.
    Failed,
}

impl Dropped {
    /// Stable name, for statistics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Full => "full",
            Self::Oversized => "oversized",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Counts since the sender was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries sent, cut ones included.
    pub sent: u64,
    /// Entries cut to the size of a packet.
    pub trimmed: u64,
    /// Connections made.
    pub connects: u64,
    /// Entries dropped as [`Dropped::Absent`].
    pub absent: u64,
    /// Entries dropped as [`Dropped::Full`].
    pub full: u64,
    /// Entries dropped as [`Dropped::Oversized`].
    pub oversized: u64,
    /// Entries dropped as [`Dropped::Failed`].
    pub failed: u64,
}

impl Stats {
    /// Entries dropped, whatever the reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.absent + self.full + self.oversized + self.failed
    }
}

/// The counters behind [`Stats`], shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) trimmed: AtomicU64,
    pub(crate) connects: AtomicU64,
    absent: AtomicU64,
    full: AtomicU64,
    oversized: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, reason: Dropped) {
        Self::add(
            match reason {
                Dropped::Absent => &self.absent,
                Dropped::Full => &self.full,
                Dropped::Oversized => &self.oversized,
                Dropped::Failed => &self.failed,
            },
            1,
        );
    }

    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            sent: read(&self.sent),
            trimmed: read(&self.trimmed),
            connects: read(&self.connects),
            absent: read(&self.absent),
            full: read(&self.full),
            oversized: read(&self.oversized),
            failed: read(&self.failed),
        }
    }
}
