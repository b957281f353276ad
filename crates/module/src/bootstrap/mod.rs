//! The bootstrap extension `cilium.bootstrap`: the policy channel, the init hold, the admin path and statistics.

mod admin;
mod stats;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender as Queue};
use std::time::Duration;

use cilium_abi::ConfigError;
use cilium_abi::bootstrap::{AdminResponse, BootstrapConfig, BootstrapExtension, Scheduler, Timer};
use cilium_abi::log::{Level, log};
use cilium_channel::{Client, Limits, Observer, Outcome, ResourceType, Update};
use cilium_proto::cilium_proxy::v1::ModuleBootstrap;
use prost::Message;

use crate::bootstrap::stats::{Statistics, UpdateCount};
use crate::{enforced, identities, log_loss, python, tls_hold};

/// Events posted to the main thread.
const READY: u64 = 1;
const UPDATED: u64 = 2;
const LOG_DROPPED: u64 = 3;

pub(crate) struct Extension {
    /// Gone after shutdown.
    channel: RefCell<Option<Client>>,
    updates: Receiver<UpdateCount>,
    statistics: Statistics,
    holding: Cell<bool>,
    /// Runs while Envoy is held, if that has a limit.
    limit: RefCell<Option<Timer>>,
}

impl Extension {
    pub(crate) fn new(config: &[u8], envoy: &BootstrapConfig) -> Result<Self, ConfigError> {
        let message = ModuleBootstrap::decode(config)?;
        for (path, help) in admin::PATHS {
            if !envoy.register_admin_handler(path, help) {
                log(Level::Warn, &format!("cilium.bootstrap: Envoy refused the admin path {path}"));
            }
        }
        if let Some(parsers) = &message.python_parsers {
            python::configure(parsers);
        }
        let statistics = Statistics::new(envoy)?;
        log_loss::LOSS.report_to(Some((envoy.scheduler(), LOG_DROPPED)));
        let (queue, updates) = mpsc::channel();
        let held = !message.policy_socket.is_empty();
        let channel = if held { Some(connect(&message, envoy, queue)?) } else { None };
        if !held {
            envoy.signal_init_complete();
        }
        let limit = message.init_timeout.as_ref().and_then(|limit| Duration::try_from(*limit).ok());
        let limit = limit.filter(|limit| held && !limit.is_zero()).map(|limit| envoy.timer(limit));
        Ok(Self {
            channel: RefCell::new(channel),
            updates,
            statistics,
            holding: Cell::new(held),
            limit: RefCell::new(limit),
        })
    }

    fn release(&self, envoy: &BootstrapConfig) {
        if self.holding.replace(false) {
            envoy.signal_init_complete();
        }
    }
}

fn connect(
    message: &ModuleBootstrap,
    envoy: &BootstrapConfig,
    queue: Queue<UpdateCount>,
) -> Result<Client, ConfigError> {
    let config = cilium_channel::Config {
        socket: PathBuf::from(&message.policy_socket),
        instance: message.instance.clone(),
        limits: Limits::default(),
    };
    let client = Client::spawn(config, Watcher { scheduler: envoy.scheduler(), queue, silent: false })?;
    if !enforced::set(client.shared()) {
        return Err(ConfigError("cilium.bootstrap: configured twice in one process".to_owned()));
    }
    Ok(client)
}

impl BootstrapExtension for Extension {
    fn on_scheduled(&self, envoy: &BootstrapConfig, event: u64) {
        match event {
            READY => {
                self.limit.borrow_mut().take();
                self.release(envoy);
            }
            UPDATED => self.updates.try_iter().for_each(|update| self.statistics.count(envoy, &update)),
            LOG_DROPPED => self.statistics.count_dropped(envoy, log_loss::LOSS.take()),
            _ => {}
        }
    }

    fn on_timer(&self, envoy: &BootstrapConfig) {
        if self.holding.get() {
            log(Level::Warn, "cilium.bootstrap: no policy arrived in time; listeners open and deny until it does");
        }
        self.release(envoy);
    }

    fn on_admin_request(&self, _method: &str, path: &str) -> AdminResponse {
        admin::respond(&enforced::load(), path)
    }

    fn on_shutdown(&self) {
        log_loss::LOSS.report_to(None);
        self.limit.borrow_mut().take();
        // Waits for the channel's thread.
        self.channel.borrow_mut().take();
        python::stop();
    }
}

/// Hears of events on the channel's thread, and hands them to the main thread.
struct Watcher {
    scheduler: Scheduler,
    queue: Queue<UpdateCount>,
    /// The control plane's absence has been reported.
    silent: bool,
}

impl Observer for Watcher {
    fn connected(&mut self) {
        self.silent = false;
        log(Level::Info, "policy channel: connected");
    }

    fn disconnected(&mut self, error: &str) {
        log(Level::Warn, &format!("policy channel: {error}; the last policies stay enforced"));
    }

    fn unreachable(&mut self, error: &str) {
        if !std::mem::replace(&mut self.silent, true) {
            log(Level::Warn, &format!("policy channel: no control plane: {error}; trying again until there is one"));
        }
    }

    fn updated(&mut self, update: &Update<'_>) {
        if let Outcome::Rejected(reason) = update.outcome {
            log(
                Level::Warn,
                &format!("policy channel: update {} of {} refused: {reason}", update.version, update.type_url),
            );
        }
        let accepted = *update.outcome == Outcome::Accepted;
        if accepted && matches!(update.resource_type, Some(ResourceType::Policies | ResourceType::TlsContexts)) {
            tls_hold::announce(update.state.tls.generation());
        }
        let count = match update.resource_type {
            Some(ResourceType::Policies) => {
                if accepted {
                    python::want(&update.state.policies);
                }
                if update.new_stream {
                    identities::reopen();
                }
                UpdateCount::Policies { accepted, new_stream: accepted && update.new_stream }
            }
            Some(ResourceType::Hosts) if accepted => UpdateCount::Hosts,
            _ => return,
        };
        let _ = self.queue.send(count);
        self.scheduler.commit(UPDATED);
    }

    fn ready(&mut self) {
        self.scheduler.commit(READY);
    }
}
