//! The access logger `cilium.connected`: tells `cilium.network` that a TCP proxy has its upstream connection.
//!
//! Where load balancing chooses the host, the verdict waits for its choice. The filter sees it with the first bytes of
//! either side; when neither speaks, only an access log entry says that the connection is there.

use std::cell::RefCell;
use std::collections::HashMap;

use cilium_abi::access_logger::{AccessLogger, LogEntry, Occasion};
use cilium_abi::network::{Connection, Scheduler};

/// The event that a filter gets.
pub(crate) const CONNECTED: u64 = 1;

thread_local! {
    /// Connections of this worker that wait for their host, by Envoy's number.
    static WAITING: RefCell<HashMap<u64, Scheduler>> = RefCell::new(HashMap::new());
}

/// A connection's place among those that wait; leaves it when dropped.
pub(crate) struct Waiting(u64);

impl Waiting {
    pub(crate) fn new(connection: &Connection<'_>) -> Self {
        let id = connection.id();
        WAITING.with_borrow_mut(|waiting| waiting.insert(id, connection.scheduler()));
        Self(id)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A worker that ends has no table any more.
        let _ = WAITING.try_with(|waiting| waiting.borrow_mut().remove(&self.0));
    }
}

pub(crate) struct Logger;

impl AccessLogger for Logger {
    fn on_log(&self, entry: &LogEntry<'_>, occasion: Occasion) {
        if occasion != Occasion::UpstreamConnected {
            return;
        }
        // The TCP proxy is in the middle of something: the filter acts when it is through.
        WAITING.with_borrow(|waiting| {
            if let Some(scheduler) = waiting.get(&entry.connection_id()) {
                scheduler.commit(CONNECTED);
            }
        });
    }
}
