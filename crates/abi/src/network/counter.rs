//! Counters of network filters.

use crate::network::Connection;
use crate::raw::{self, Buffer, Envoy};
use crate::text::ConfigError;

/// A filter's configuration on Envoy's side, while it is being made.
pub struct NetworkFilterConfig {
    envoy: Envoy,
}

/// A counter of a filter's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(usize);

impl NetworkFilterConfig {
    pub(super) fn new(envoy: Envoy) -> Self {
        Self { envoy }
    }

    /// Defines a counter, below the statistics prefix of the filter's module configuration.
    pub fn define_counter(&self, name: &str) -> Result<Counter, ConfigError> {
        let mut id = 0;
        // SAFETY: the configuration is live while it is being made; Envoy copies the name.
        let result = unsafe { raw::network::define_counter(self.envoy, Buffer::new(name.as_bytes()), &raw mut id) };
        if result == 0 { Ok(Counter(id)) } else { Err(ConfigError(format!("Envoy refused the counter {name}"))) }
    }
}

impl Connection<'_> {
    /// Adds one to a counter.
    pub fn increment(&self, counter: Counter) {
        // SAFETY: `self.envoy` is live during the call. The only failure is an unknown counter, which `Counter` rules out.
        let _ = unsafe { raw::network::increment_counter(self.envoy, counter.0, 1) };
    }
}
