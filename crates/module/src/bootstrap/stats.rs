//! Statistics of updates, with the reference's names below the module's prefix, which is `cilium`.

use std::cell::Cell;

use cilium_abi::ConfigError;
use cilium_abi::bootstrap::{BootstrapConfig, Counter, Gauge};

/// One answered update.
pub(crate) enum UpdateCount {
    Policies {
        accepted: bool,
        /// Accepted as the first one of a stream.
        new_stream: bool,
    },
    /// Accepted.
    Hosts,
}

pub(crate) struct Statistics {
    updates: Counter,
    rejected: Counter,
    success: Counter,
    hosts_success: Counter,
    log_dropped: Counter,
    stream_generation: Gauge,
    generation: Cell<u64>,
}

impl Statistics {
    pub(crate) fn new(envoy: &BootstrapConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            updates: envoy.define_counter("policy.updates_total")?,
            rejected: envoy.define_counter("policy.updates_rejected")?,
            success: envoy.define_counter("policy.update_success")?,
            hosts_success: envoy.define_counter("hostmap.update_success")?,
            log_dropped: envoy.define_counter("access_log.dropped")?,
            stream_generation: envoy.define_gauge("policy.policy_stream_generation")?,
            generation: Cell::new(0),
        })
    }

    /// Entries of the access log were dropped.
    pub(crate) fn count_dropped(&self, envoy: &BootstrapConfig, count: u64) {
        envoy.increment_counter(self.log_dropped, count);
    }

    pub(crate) fn count(&self, envoy: &BootstrapConfig, update: &UpdateCount) {
        match *update {
            UpdateCount::Hosts => envoy.increment_counter(self.hosts_success, 1),
            UpdateCount::Policies { accepted, new_stream } => {
                envoy.increment_counter(self.updates, 1);
                envoy.increment_counter(if accepted { self.success } else { self.rejected }, 1);
                if new_stream {
                    self.generation.set(self.generation.get() + 1);
                    envoy.set_gauge(self.stream_generation, self.generation.get());
                }
            }
        }
    }
}
