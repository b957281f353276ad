//! The state that all filters of this process enforce.

use std::sync::OnceLock;

use cilium_channel::{SharedState, State, StateGuard};
use cilium_policy::PolicyMap;

static STATE: OnceLock<SharedState> = OnceLock::new();
static NOTHING: OnceLock<SharedState> = OnceLock::new();

/// Makes the channel's state the one to enforce; false when there is one already.
pub(crate) fn set(state: SharedState) -> bool {
    STATE.set(state).is_ok()
}

/// What is in force now. Without a channel: no policy for anyone, so everything is denied.
pub(crate) fn load() -> StateGuard {
    // A look before there is a channel must not keep its state out.
    STATE.get().unwrap_or_else(|| NOTHING.get_or_init(nothing)).load()
}

fn nothing() -> SharedState {
    SharedState::new(State::empty(PolicyMap::new().snapshot()))
}
