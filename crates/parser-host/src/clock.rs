//! How long the guest has been at a call, and what is done about it.

use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use cilium_embed_abi::Library;

use crate::lock;
use crate::session::Inner;

/// What the guest does right now. All that it runs, runs within a [`Call`].
#[derive(Default)]
pub(crate) struct Clock {
    /// Once it has started.
    guest: OnceLock<Library>,
    state: Mutex<State>,
    /// Something to look at begins, or everything ends.
    begins: Condvar,
}

#[derive(Default)]
struct State {
    /// Number of the last call.
    last: u64,
    running: Option<Running>,
    /// The one who looks waits for a call to begin.
    waiting: bool,
    stopped: bool,
}

struct Running {
    call: u64,
    since: Instant,
    limit: Duration,
    /// Whom it is for: a connection's parser, by name.
    name: Arc<str>,
    session: Option<Arc<Inner>>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    InTime,
    Late,
    Stuck,
}

/// A call, as long as this is there. Belongs to the guest's thread.
pub(crate) struct Call<'c> {
    clock: &'c Clock,
    within: bool,
}

/// What the one who looks at the clock finds.
pub(crate) enum Finding {
    /// Nothing; look again after this long.
    Nothing(Duration),
    /// A call has just run out of time.
    Late { call: u64, name: Arc<str>, session: Option<Arc<Inner>>, limit: Duration },
    /// A call that was to end has not.
    Again(u64),
    /// A call has just been found not to end.
    Stuck(Arc<str>),
    /// The end.
    Stopped,
}

/// How often a running call is looked at.
const PERIOD: Duration = Duration::from_millis(20);

impl Clock {
    /// The guest has started.
    pub(crate) fn set_guest(&self, guest: Library) {
        let _ = self.guest.set(guest);
    }

    /// A call begins, or a part of the one that runs.
    pub(crate) fn enter(&self, name: &Arc<str>, limit: Duration, session: Option<Arc<Inner>>) -> Call<'_> {
        let mut state = lock(&self.state);
        if state.running.is_some() {
            return Call { clock: self, within: true };
        }
        state.last += 1;
        let call = state.last;
        let name = Arc::clone(name);
        state.running = Some(Running { call, since: Instant::now(), limit, name, session, stage: Stage::InTime });
        if state.waiting {
            self.begins.notify_one();
        }
        drop(state);
        if let Some(guest) = self.guest.get() {
            guest.begin(call);
        }
        Call { clock: self, within: false }
    }

    /// Waits until there is something to do.
    pub(crate) fn look(&self, grace: Duration) -> Finding {
        let mut state = lock(&self.state);
        while state.running.is_none() && !state.stopped {
            state.waiting = true;
            state = self.begins.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.waiting = false;
        if state.stopped {
            return Finding::Stopped;
        }
        let Some(running) = &mut state.running else { return Finding::Nothing(PERIOD) };
        let elapsed = running.since.elapsed();
        match running.stage {
            Stage::InTime if elapsed >= running.limit => {
                running.stage = Stage::Late;
                let (name, session) = (Arc::clone(&running.name), running.session.clone());
                Finding::Late { call: running.call, name, session, limit: running.limit }
            }
            Stage::InTime => Finding::Nothing(PERIOD.min(running.limit.saturating_sub(elapsed))),
            Stage::Late if elapsed >= running.limit + grace => {
                running.stage = Stage::Stuck;
                Finding::Stuck(Arc::clone(&running.name))
            }
            Stage::Late | Stage::Stuck => Finding::Again(running.call),
        }
    }

    /// Has a call end, if the guest can end it.
    pub(crate) fn interrupt(&self, call: u64) {
        if let Some(guest) = self.guest.get() {
            guest.interrupt(call);
        }
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.begins.notify_all();
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.within {
            if let Some(guest) = self.clock.guest.get() {
                guest.end();
            }
            lock(&self.clock.state).running = None;
        }
    }
}
