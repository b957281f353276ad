//! How many tracebacks are written.

use std::time::{Duration, Instant};

/// Tracebacks are long: so many may come at once, then one a second.
const AT_ONCE: u32 = 10;
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Tracebacks {
    left: u32,
    /// When one was added to those that are left.
    added: Instant,
}

impl Default for Tracebacks {
    fn default() -> Self {
        Self { left: AT_ONCE, added: Instant::now() }
    }
}

impl Tracebacks {
    /// Whether the next one may be written.
    pub(crate) fn next(&mut self) -> bool {
        let more = u32::try_from(self.added.elapsed().as_nanos() / INTERVAL.as_nanos()).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(AT_ONCE);
            self.added = Instant::now();
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}
