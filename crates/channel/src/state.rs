//! What the workers read.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cilium_policy::{Snapshot, hosts::HostMap};

use crate::tls::TlsContexts;
use crate::transaction::ChangesDigest;

/// Policies and identities in force at one moment. Immutable.
#[derive(Clone, Debug)]
pub struct State {
    /// Policies of all endpoints.
    pub policies: Arc<Snapshot>,
    /// Identities of addresses.
    pub hosts: Arc<HostMap>,
    /// TLS contexts that Envoy has.
    pub tls: Arc<TlsContexts>,
    /// Where they come from.
    pub versions: Versions,
}

impl State {
    /// Nothing but these policies.
    #[must_use]
    pub fn empty(policies: Arc<Snapshot>) -> Self {
        Self { policies, hosts: Arc::default(), tls: Arc::default(), versions: Versions::default() }
    }
}

/// Last accepted transaction of each type; `None`: there was none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Of `cilium.NetworkPolicy`.
    pub policies: Option<Arc<Applied>>,
    /// Of `cilium.NetworkPolicyHosts`.
    pub hosts: Option<Arc<Applied>>,
    /// Of `envoy.extensions.transport_sockets.tls.v3.Secret`.
    pub secrets: Option<Arc<Applied>>,
    /// Of `cilium_proxy.v1.TlsContextState`.
    pub tls: Option<Arc<Applied>>,
}

/// A transaction that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Run of the control plane that sent it.
    pub epoch: u64,
    /// Version it led to.
    pub version: String,
    /// Digest of its changes.
    pub digest: ChangesDigest,
    /// Whether its changes were the whole state.
    pub full: bool,
    /// How many streams of the source there were, this one included.
    pub stream: u64,
}

/// A borrowed [`State`]: cheap, and meant to be dropped soon.
pub type StateGuard = arc_swap::Guard<Arc<State>>;

/// Handle to the current state, for whoever enforces it.
#[derive(Clone, Debug)]
pub struct SharedState(Arc<ArcSwap<State>>);

impl SharedState {
    /// A handle to `state`, for those who have no channel.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(state)))
    }

    /// The current state, for one verdict. Never waits.
    #[must_use]
    pub fn load(&self) -> StateGuard {
        self.0.load()
    }

    /// The current state, to keep. Never waits.
    #[must_use]
    pub fn load_full(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// Replaces the state for everyone; returns the one before.
    pub(crate) fn publish(&self, state: State) -> Arc<State> {
        self.0.swap(Arc::new(state))
    }
}
