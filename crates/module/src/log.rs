//! Access log entries of a worker: made per request, reused, sent without waiting.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cilium_abi::ConfigError;
use cilium_accesslog::{Entry, Queue};
use cilium_policy::HeaderLog;

use crate::log_loss;

/// Entries kept per worker for the next requests.
const KEPT: usize = 256;

thread_local! {
    #[expect(clippy::vec_box, reason = "entries move in and out: a pointer is cheaper to move than an entry")]
    static SPARE: RefCell<Vec<Box<Entry>>> = const { RefCell::new(Vec::new()) };
}

/// An entry that goes back to its worker's spare ones.
pub(crate) struct PooledEntry(Option<Box<Entry>>);

impl PooledEntry {
    pub(crate) fn new() -> Self {
        Self(Some(SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()))
    }
}

impl Drop for PooledEntry {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            // A worker that ends has no spare ones any more.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < KEPT {
                    spare.push(entry);
                }
            });
        }
    }
}

impl Deref for PooledEntry {
    type Target = Entry;

    #[expect(clippy::expect_used, reason = "only `drop` takes the entry out")]
    fn deref(&self) -> &Entry {
        self.0.as_ref().expect("an entry until it is dropped")
    }
}

impl DerefMut for PooledEntry {
    #[expect(clippy::expect_used, reason = "only `drop` takes the entry out")]
    fn deref_mut(&mut self) -> &mut Entry {
        self.0.as_mut().expect("an entry until it is dropped")
    }
}

/// Where a filter's entries go; `None`: nowhere.
pub(crate) fn open(path: &str) -> Result<Option<Arc<Queue>>, ConfigError> {
    if path.is_empty() { Ok(None) } else { Ok(Some(Queue::open(Path::new(path), Some(&log_loss::LOSS))?)) }
}

/// Adds what policy found to be missing or wrong.
pub(crate) fn add_findings(entry: &mut Entry, findings: &HeaderLog) {
    for (name, value) in &findings.missing {
        entry.add_missing(name.as_bytes(), value);
    }
    for (name, value) in &findings.rejected {
        entry.add_rejected(name.as_bytes(), value);
    }
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// A reason as response-code details or close reason: Envoy allows no white space there.
pub(crate) fn details(filter: &str, reason: &str) -> String {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    format!("{filter}:{reason}").chars().map(|c| if blank(c) { '_' } else { c }).collect()
}
