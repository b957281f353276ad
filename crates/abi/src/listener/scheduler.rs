//! Events for held connections, from other threads.

use crate::raw::{self, Envoy};

/// Posts events to one filter, on its worker. It is to be dropped before the filter's worker ends.
pub struct Scheduler {
    envoy: Envoy,
}

// SAFETY: Envoy's scheduler is made for use from other threads: it posts to the worker's dispatcher, and holds the
// filter weakly.
unsafe impl Send for Scheduler {}

impl Scheduler {
    pub(super) fn new(envoy: Envoy) -> Self {
        Self { envoy }
    }

    /// Has [`super::ListenerFilter::on_scheduled`] called with `event`, soon; never, when the connection ends before.
    pub fn commit(&self, event: u64) {
        // SAFETY: the scheduler is live until it is dropped, and holds the filter weakly.
        unsafe { raw::listener::scheduler_commit(self.envoy, event) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: Envoy allocated it for us and does not free it itself.
        unsafe { raw::listener::scheduler_delete(self.envoy) };
    }
}
