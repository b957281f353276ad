//! What the filters of one configuration share.

use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::network::{Counter, NetworkFilterConfig};
use cilium_accesslog::Queue;
use cilium_websocket::{Config, Error};

use crate::log;

pub(super) struct Settings {
    pub(super) codec: Arc<Config>,
    pub(super) log: Option<Arc<Queue>>,
    pub(super) access_denied: Counter,
    pub(super) ping_sent: Counter,
    errors: Vec<(&'static str, Counter)>,
}

impl Settings {
    pub(super) fn new(codec: Config, log: &str, envoy: &NetworkFilterConfig) -> Result<Self, ConfigError> {
        let define = |name| envoy.define_counter(&format!("websocket.{name}"));
        let errors = Error::COUNTERS.into_iter().map(|name| Ok((name, define(name)?)));
        Ok(Self {
            codec: Arc::new(codec),
            log: log::open(log)?,
            access_denied: define("access_denied")?,
            ping_sent: define("ping_sent_count")?,
            errors: errors.collect::<Result<_, ConfigError>>()?,
        })
    }

    /// The counter of an error.
    pub(super) fn counter(&self, error: Error) -> Option<Counter> {
        self.errors.iter().find(|(name, _)| *name == error.counter()).map(|(_, counter)| *counter)
    }
}
