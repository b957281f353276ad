//! The host: one per process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::classes::{Class, Classes};
use crate::clock::Clock;
use crate::closed::{Cause, Closed};
use crate::config::{Config, PREFIX};
use crate::lock;
use crate::queue::{Job, JobQueue};
use crate::runner::Runner;
use crate::session::{NewSession, Session};
use crate::watch::watch;

/// Parsers, and the threads that run them. The guest is loaded when the first parser is wanted.
pub struct Host {
    shared: Arc<Shared>,
    /// The runner's end of it is gone when the runner is.
    ended: Mutex<Option<Receiver<()>>>,
}

/// Hears what is worth a line in the log.
pub trait Observer: Send + Sync {
    /// All is well.
    fn info(&self, message: &str);
    /// Something is not.
    fn warn(&self, message: &str);
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) classes: Classes,
    pub(crate) queue: JobQueue,
    pub(crate) clock: Arc<Clock>,
    /// Bytes that wait, of all connections.
    waiting: AtomicUsize,
    availability: Mutex<Availability>,
}

/// Whether the guest takes anything.
#[derive(Default)]
struct Availability {
    stopped: bool,
    /// The parser that does not return from a call.
    stuck: Option<Arc<str>>,
}

/// Stack of the runner, which is Python's main thread.
const STACK: usize = 16 << 20;

impl Host {
    /// A host that has started nothing yet.
    #[must_use]
    pub fn new(config: Config, observer: Box<dyn Observer>) -> Self {
        let shared = Arc::new(Shared {
            config,
            observer,
            classes: Classes::default(),
            queue: JobQueue::default(),
            clock: Arc::default(),
            waiting: AtomicUsize::new(0),
            availability: Mutex::default(),
        });
        Self { shared, ended: Mutex::new(None) }
    }

    /// Has a parser loaded, `package.module:Class`, unless it was wanted before.
    pub fn want(&self, parser: &str) {
        if let Some(name) = self.shared.classes.want(parser) {
            self.shared.queue.push(Job::Load(name));
            self.start();
        }
    }

    /// Why there is no such parser; `None` when there is, and while it is not known.
    #[must_use]
    pub fn refusal(&self, parser: &str) -> Option<String> {
        match self.shared.classes.get(parser) {
            Some(Class::Failed(reason)) => Some(first_line(&reason).to_owned()),
            Some(Class::Loading | Class::Loaded(_)) | None => None,
        }
    }

    /// The parsers that were wanted, and what each is: `Ok` when it runs, else why it does not.
    #[must_use]
    pub fn report(&self) -> Vec<(String, Result<(), String>)> {
        let state = |name: &Arc<str>| match self.shared.classes.get(name) {
            Some(Class::Loaded(_)) => Ok(()),
            Some(Class::Failed(reason)) => Err(first_line(&reason).to_owned()),
            Some(Class::Loading) | None => Err("is being loaded".to_owned()),
        };
        self.shared.classes.names().iter().map(|name| (name.to_string(), state(name))).collect()
    }

    /// Starts the parser of a connection. What comes of it, [`Session::next`] tells.
    pub fn open(&self, new: NewSession) -> Session {
        self.want(&new.parser);
        Session::start(&self.shared, new)
    }

    /// Ends the threads. Does not wait for a call of the guest that does not end: it is left behind.
    pub fn stop(&self) {
        lock(&self.shared.availability).stopped = true;
        self.shared.queue.stop();
        self.shared.clock.stop();
        if let Some(ended) = lock(&self.ended).take() {
            // An error means that the runner is gone, or cannot be waited for any longer.
            let _ = ended.recv_timeout(Duration::from_millis(500));
        }
    }

    fn start(&self) {
        let mut ended = lock(&self.ended);
        if ended.is_some() {
            return;
        }
        let (alive, receiver) = mpsc::channel();
        *ended = Some(receiver);
        let (shared, watched) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let run = move || {
            Runner::run(shared);
            drop(alive);
        };
        let spawned = thread::Builder::new().name("python-parsers".into()).stack_size(STACK).spawn(run);
        let watching = thread::Builder::new().name("parser-clock".into()).spawn(move || watch(&watched));
        if let Err(error) = spawned.and(watching) {
            self.shared.classes.set_broken(&format!("the thread for parsers cannot be started: {error}"));
        }
    }
}

impl Shared {
    /// Counts bytes that wait; all of them now.
    pub(crate) fn add_waiting(&self, bytes: usize) -> usize {
        self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    pub(crate) fn remove_waiting(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Why the guest takes nothing, if it does not.
    pub(crate) fn unavailable(&self) -> Option<Closed> {
        let availability = lock(&self.availability);
        if availability.stopped {
            return Some(Closed::new(Cause::Refused, "the proxy is shutting down"));
        }
        availability.stuck.as_ref().map(|name| stuck(name))
    }

    /// A call does not end: until it does, nothing else of the guest can run.
    pub(crate) fn give_up(&self, name: &Arc<str>) {
        self.observer.warn(&format!("{}; connections with Python parsers are closed until it does", stuck(name)));
        lock(&self.availability).stuck = Some(Arc::clone(name));
        for session in self.queue.sessions() {
            session.close(stuck(name));
        }
    }

    /// The guest does run: the call ended after all.
    pub(crate) fn recover(&self) {
        if let Some(name) = lock(&self.availability).stuck.take() {
            self.observer.info(&format!("{PREFIX}{name} has returned, Python parsers run again"));
        }
    }
}

fn stuck(name: &str) -> Closed {
    Closed::new(Cause::Time, format!("{PREFIX}{name} does not return from a call and cannot be interrupted"))
}

/// A reason without its traceback.
pub(crate) fn first_line(reason: &str) -> &str {
    reason.lines().next().unwrap_or_default()
}
