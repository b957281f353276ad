//! What the host's thread has to do, in order.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::core::Core;
use crate::lock;
use crate::session::Inner;

/// One thing to do.
pub(crate) enum Job {
    /// Load a protocol.
    Load(Arc<str>),
    /// Look at the bytes of a connection.
    Run(Arc<Inner>),
    /// Free what is left of a connection of that parser, which is a call of the guest.
    Free(Arc<str>, Core),
}

/// Jobs of one thread. A connection has at most one in it, so it is as long as there are connections.
#[derive(Default)]
pub(crate) struct JobQueue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    waiting: bool,
    stopped: bool,
}

/// What the thread gets.
pub(crate) enum Next {
    Job(Job),
    /// Nothing in that time.
    Nothing,
    Stopped,
}

impl JobQueue {
    pub(crate) fn push(&self, job: Job) {
        let mut state = lock(&self.state);
        state.jobs.push_back(job);
        if state.waiting {
            self.filled.notify_one();
        }
    }

    /// The next job, for which it waits at most this long.
    pub(crate) fn next(&self, limit: Duration) -> Next {
        let mut state = lock(&self.state);
        if state.jobs.is_empty() && !state.stopped {
            state.waiting = true;
            let waited = self.filled.wait_timeout(state, limit);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            state.waiting = false;
        }
        match state.jobs.pop_front() {
            _ if state.stopped => Next::Stopped,
            Some(job) => Next::Job(job),
            None => Next::Nothing,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).jobs.is_empty()
    }

    /// The connections that wait.
    pub(crate) fn sessions(&self) -> Vec<Arc<Inner>> {
        let state = lock(&self.state);
        let sessions = state.jobs.iter().filter_map(|job| match job {
            Job::Run(session) => Some(Arc::clone(session)),
            Job::Load(_) | Job::Free(..) => None,
        });
        sessions.collect()
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.filled.notify_all();
    }
}
