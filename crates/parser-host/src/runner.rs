//! The thread that talks to the guest.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cilium_embed_abi::{Failure, Library, Settings};

use crate::classes::Class;
use crate::closed::{Cause, Closed};
use crate::config::{PREFIX, Source};
use crate::core::{Core, Open};
use crate::host::{Shared, first_line};
use crate::lock;
use crate::protocol::GuestProtocol;
use crate::queue::{Job, Next};
use crate::session::Inner;
use crate::tracebacks::Tracebacks;

/// Bytes of a connection that are looked at before others have their turn.
const SLICE: usize = 16 << 10;

/// The thread that talks to the guest.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    guest: Library,
    tracebacks: Tracebacks,
}

impl Runner {
    /// Works until the host is stopped.
    pub(crate) fn run(shared: Arc<Shared>) {
        match start(&shared) {
            Ok(guest) => Self { shared, guest, tracebacks: Tracebacks::default() }.work(),
            Err(reason) => {
                shared.observer.warn(&format!("Python parsers cannot be run: {reason}"));
                let reason = format!("Python parsers cannot be run: {}", first_line(&reason));
                shared.classes.set_broken(&reason);
                refuse_all(&shared, &reason);
            }
        }
    }

    fn work(mut self) {
        let look = self.shared.config.limits.look;
        let mut looked = Instant::now();
        loop {
            self.shared.recover();
            match self.shared.queue.next(look.saturating_sub(looked.elapsed())) {
                Next::Stopped => return,
                Next::Nothing => {}
                Next::Job(Job::Load(name)) => self.load(&name),
                Next::Job(Job::Run(session)) => self.advance(&session),
                Next::Job(Job::Free(name, core)) => self.free(&name, core),
            }
            if looked.elapsed() >= look {
                looked = Instant::now();
                if self.guest.changed() {
                    self.reload();
                }
            }
        }
    }

    fn load(&self, name: &Arc<str>) {
        let Some(Class::Loading) = self.shared.classes.get(name) else { return };
        let class = match self.loaded(name) {
            Ok(protocol) => {
                self.shared.observer.info(&format!("{PREFIX}{name} is loaded"));
                Class::Loaded(protocol)
            }
            Err(reason) => {
                self.shared.observer.warn(&format!("{PREFIX}{name} lets nothing pass: {reason}"));
                Class::Failed(reason)
            }
        };
        self.shared.classes.set(name, class);
    }

    fn loaded(&self, name: &Arc<str>) -> Result<Arc<GuestProtocol>, String> {
        let _call = self.shared.clock.enter(name, self.shared.config.limits.load_time, None);
        Ok(Arc::new(GuestProtocol::new(name, self.guest.load(name)?)))
    }

    /// Loads all anew. Connections go on with what they started with; so does a parser whose new code cannot be loaded.
    fn reload(&self) {
        let names = self.shared.classes.names();
        if let Some(first) = names.first() {
            let _call = self.shared.clock.enter(first, self.shared.config.limits.load_time, None);
            self.guest.refresh();
        }
        for name in names {
            let before = self.shared.classes.get(&name);
            match self.loaded(&name) {
                Ok(protocol) => {
                    self.shared.observer.info(&format!("{PREFIX}{name} is loaded anew, for new connections"));
                    self.shared.classes.set(&name, Class::Loaded(protocol));
                }
                Err(reason) if matches!(before, Some(Class::Loaded(_))) => {
                    let refused = format!("the edit of {PREFIX}{name} is refused, the code before goes on: {reason}");
                    self.shared.observer.warn(&refused);
                }
                Err(reason) => {
                    self.shared.observer.warn(&format!("{PREFIX}{name} lets nothing pass: {reason}"));
                    self.shared.classes.set(&name, Class::Failed(reason));
                }
            }
            self.free(&name, before);
        }
    }

    /// Has the parser look at what there is of a connection, until others wait.
    fn advance(&mut self, session: &Arc<Inner>) {
        // One that is over needs no parser any more.
        let over = lock(&session.exchange).closed.is_some();
        if !over && let Err(closed) = self.open(session) {
            session.close(closed);
        }
        loop {
            let (reply, data, end) = {
                let mut exchange = lock(&session.exchange);
                if exchange.closed.is_some() {
                    break;
                }
                let Some(next) = exchange.pop(SLICE) else {
                    exchange.busy = false;
                    return;
                };
                next
            };
            self.shared.remove_waiting(data.len());
            let result = match &mut *lock(&session.core) {
                Some(Core::Open(open)) => {
                    let _call = self.enter(session);
                    open.feed(reply, end, data)
                }
                _ => break,
            };
            match result {
                Ok(effects) => {
                    let idle = lock(&session.exchange).put(effects);
                    session.wake();
                    if idle {
                        return;
                    }
                }
                Err((closed, failure)) => {
                    if let Some(failure) = failure {
                        self.report(session, &failure);
                    }
                    session.close(closed);
                    break;
                }
            }
            if !self.shared.queue.is_empty() {
                self.shared.queue.push(Job::Run(Arc::clone(session)));
                return;
            }
        }
        self.free(&session.parser, lock(&session.core).take());
        lock(&session.exchange).busy = false;
    }

    /// Makes the parser of a new connection.
    fn open(&self, session: &Arc<Inner>) -> Result<(), Closed> {
        let mut core = lock(&session.core);
        let new = match core.take() {
            Some(Core::New(new)) => new,
            other => {
                *core = other;
                return Ok(());
            }
        };
        let name = &session.parser;
        self.load(name);
        let refused = |reason: &str| Closed::new(Cause::Refused, format!("{PREFIX}{name}: {}", first_line(reason)));
        let protocol = match self.shared.classes.get(name) {
            Some(Class::Loaded(protocol)) => protocol,
            Some(Class::Failed(reason)) => return Err(refused(&reason)),
            Some(Class::Loading) | None => return Err(refused("it is not loaded")),
        };
        let _call = self.enter(session);
        let open = Open::new(*new, name, protocol).map_err(|reason| {
            self.shared.observer.warn(&format!("{PREFIX}{name} refuses a connection: {reason}"));
            Closed::new(Cause::Failed, format!("{PREFIX}{name}: {}", first_line(&reason)))
        })?;
        *core = Some(Core::Open(Box::new(open)));
        Ok(())
    }

    fn enter(&self, session: &Arc<Inner>) -> crate::clock::Call<'_> {
        self.shared.clock.enter(&session.parser, self.shared.config.limits.time, Some(Arc::clone(session)))
    }

    /// Drops what may be the guest's.
    fn free<T>(&self, name: &Arc<str>, object: T) {
        let _call = self.shared.clock.enter(name, self.shared.config.limits.time, None);
        drop(object);
    }

    /// Writes the traceback of a failure, if there is one and not too many were written lately.
    fn report(&mut self, session: &Inner, failure: &Failure) {
        if !failure.traceback.is_empty() && self.tracebacks.next() {
            let text = format!("{PREFIX}{}: {}\n{}", session.parser, failure.reason, failure.traceback);
            self.shared.observer.warn(&text);
        }
    }
}

fn start(shared: &Shared) -> Result<Library, String> {
    let config = &shared.config;
    let guest = match &config.source {
        Source::Linked(guest) => *guest,
        Source::Files { library, needed } => {
            let needed: Vec<_> = needed.iter().map(PathBuf::as_path).collect();
            Library::open(library, &needed).map_err(|error| error.to_string())?
        }
    };
    let directories: Vec<_> = config.directories.iter().map(String::as_str).collect();
    guest.start(&Settings {
        program: &config.program,
        package: &config.package,
        directories: &directories,
        memory: config.memory,
    })?;
    shared.clock.set_guest(guest);
    Ok(guest)
}

/// Without a guest, connections are closed until the host is stopped.
fn refuse_all(shared: &Shared, reason: &str) {
    loop {
        match shared.queue.next(Duration::MAX) {
            Next::Stopped => return,
            Next::Job(Job::Run(session)) => session.close(Closed::new(Cause::Refused, reason)),
            Next::Job(Job::Load(_) | Job::Free(..)) | Next::Nothing => {}
        }
    }
}
