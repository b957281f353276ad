//! The thread that looks at the clock: it ends calls that take too long, and gives up on those that do not end.

use std::time::Duration;

use crate::clock::Finding;
use crate::closed::{Cause, Closed};
use crate::config::PREFIX;
use crate::host::Shared;

/// Between two attempts to end a call.
const AGAIN: Duration = Duration::from_millis(100);

/// Works until the clock is stopped.
pub(crate) fn watch(shared: &Shared) {
    loop {
        match shared.clock.look(shared.config.limits.grace) {
            Finding::Stopped => return,
            Finding::Nothing(pause) => std::thread::sleep(pause),
            Finding::Late { call, name, session, limit } => {
                // First, so that this is the reason, and not what the call makes of its end.
                if let Some(session) = session {
                    let reason = format!("{PREFIX}{name}: a call took longer than {limit:?}");
                    session.close(Closed::new(Cause::Time, reason));
                }
                shared.clock.interrupt(call);
            }
            Finding::Again(call) => {
                shared.clock.interrupt(call);
                std::thread::sleep(AGAIN);
            }
            Finding::Stuck(name) => shared.give_up(&name),
        }
    }
}
