//! Time between attempts to connect.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

/// Doubles from 20 ms to 1 s; each wait is a random part of it, between half and all, so that Envoys which lost the
/// control plane together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    random: RandomState,
    draws: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST, random: RandomState::new(), draws: 0 }
    }

    /// After a connection that worked.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(crate) fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LAST);
        self.draws += 1;
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.draws);
        let half = full / 2;
        half + half * u32::from(hasher.finish().to_le_bytes()[0]) / u32::from(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_second_with_jitter() {
        let mut backoff = Backoff::new();
        let mut full = FIRST;
        for _ in 0..12 {
            let wait = backoff.wait();
            assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
            full = (full * 2).min(LAST);
        }
        assert_eq!(full, LAST);
    }

    #[test]
    fn a_working_connection_starts_over() {
        let mut backoff = Backoff::new();
        for _ in 0..12 {
            backoff.wait();
        }
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
