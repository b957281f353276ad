//! Statistics of policy updates, with the reference's names below the module's prefix, which is `cilium`.

use std::cell::Cell;

use cilium_abi::ConfigError;
use cilium_abi::bootstrap::{BootstrapConfig, Counter, Gauge};

/// One answered policy update.
pub(crate) struct UpdateCount {
    pub(crate) accepted: bool,
    /// Accepted as the first one of a stream.
    pub(crate) new_stream: bool,
}

pub(crate) struct Statistics {
    updates: Counter,
    rejected: Counter,
    success: Counter,
    stream_generation: Gauge,
    generation: Cell<u64>,
}

impl Statistics {
    pub(crate) fn new(envoy: &BootstrapConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            updates: envoy.define_counter("policy.updates_total")?,
            rejected: envoy.define_counter("policy.updates_rejected")?,
            success: envoy.define_counter("policy.update_success")?,
            stream_generation: envoy.define_gauge("policy.policy_stream_generation")?,
            generation: Cell::new(0),
        })
    }

    pub(crate) fn count(&self, envoy: &BootstrapConfig, update: &UpdateCount) {
        envoy.increment_counter(self.updates, 1);
        envoy.increment_counter(if update.accepted { self.success } else { self.rejected }, 1);
        if update.new_stream {
            self.generation.set(self.generation.get() + 1);
            envoy.set_gauge(self.stream_generation, self.generation.get());
        }
    }
}
