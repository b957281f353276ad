//! When requests began whose responses are still to come.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Requests without response after which the oldest are forgotten: at the latest when there are twice as many.
const GENERATION: usize = 4096;

/// Times of requests by their id.
///
/// Ids are chosen by clients, and of any length: a keyed hash stands for them. Two generations bound what is kept when
/// responses do not come.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    newer: HashMap<u64, u64>,
    older: HashMap<u64, u64>,
    hasher: RandomState,
}

impl InFlight {
    /// Notes when the request of that id began.
    pub(super) fn begin(&mut self, id: &str, timestamp: u64) {
        if self.newer.len() == GENERATION {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(self.hasher.hash_one(id), timestamp);
    }

    /// When the request of that id began, once.
    pub(super) fn end(&mut self, id: &str) -> Option<u64> {
        let key = self.hasher.hash_one(id);
        self.newer.remove(&key).or_else(|| self.older.remove(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_once() {
        let mut requests = InFlight::default();
        requests.begin("a", 1);
        requests.begin("b", 2);
        assert_eq!([requests.end("a"), requests.end("a"), requests.end("b")], [Some(1), None, Some(2)]);
    }

    #[test]
    fn requests_that_end_make_room_for_others() {
        let mut requests = InFlight::default();
        requests.begin("slow", 1);
        for _ in 0..10 * GENERATION {
            requests.begin("fast", 2);
            requests.end("fast");
        }
        assert_eq!(requests.end("slow"), Some(1));
    }

    #[test]
    fn the_oldest_are_forgotten_when_responses_do_not_come() {
        let mut requests = InFlight::default();
        for number in 0..=2 * GENERATION as u64 {
            requests.begin(&number.to_string(), number);
        }
        assert_eq!(requests.end("0"), None);
        assert_eq!(requests.end(&GENERATION.to_string()), Some(GENERATION as u64));
        assert!(requests.newer.len() + requests.older.len() <= 2 * GENERATION);
    }
}
