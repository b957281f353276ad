//! Snapshots that were replaced, until nobody uses them.

use std::sync::Arc;

use cilium_policy::{Snapshot, hosts::HostMap};

use crate::state::State;

/// Keeps what was replaced alive as long as a worker uses it, so that the last reference is always dropped here:
/// to free the policies of thousands of endpoints takes milliseconds, which no worker has.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    states: Vec<Arc<State>>,
    policies: Vec<Arc<Snapshot>>,
    hosts: Vec<Arc<HostMap>>,
}

impl Retired {
    pub(crate) fn add(&mut self, state: Arc<State>) {
        // A worker may keep a part of a state for longer than the state.
        if !self.policies.iter().any(|known| Arc::ptr_eq(known, &state.policies)) {
            self.policies.push(Arc::clone(&state.policies));
        }
        if !self.hosts.iter().any(|known| Arc::ptr_eq(known, &state.hosts)) {
            self.hosts.push(Arc::clone(&state.hosts));
        }
        self.states.push(state);
    }

    /// Frees what only this has left. Nobody can get hold of it again: it is published no more.
    pub(crate) fn sweep(&mut self) {
        self.states.retain(|state| Arc::strong_count(state) > 1);
        self.policies.retain(|policies| Arc::strong_count(policies) > 1);
        self.hosts.retain(|hosts| Arc::strong_count(hosts) > 1);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.states.is_empty() && self.policies.is_empty() && self.hosts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use cilium_policy::PolicyMap;

    use super::*;

    fn state() -> Arc<State> {
        let policies = PolicyMap::new().snapshot();
        Arc::new(State::empty(policies))
    }

    #[test]
    fn what_nobody_uses_is_freed() {
        let mut retired = Retired::default();
        retired.add(state());
        retired.sweep();
        assert!(retired.is_empty());
    }

    #[test]
    fn what_a_worker_uses_is_kept_until_it_does_not() {
        let mut retired = Retired::default();
        let used = state();
        retired.add(Arc::clone(&used));
        retired.sweep();
        assert_eq!(Arc::strong_count(&used), 2);
        drop(used);
        retired.sweep();
        assert!(retired.is_empty());
    }

    #[test]
    fn a_part_that_outlives_its_state_is_kept_too() {
        let mut retired = Retired::default();
        let state = state();
        let policies = Arc::clone(&state.policies);
        retired.add(state);
        retired.sweep();
        assert_eq!(Arc::strong_count(&policies), 2);
        drop(policies);
        retired.sweep();
        assert!(retired.is_empty());
    }
}
