//! A connection, as a worker sees it.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use cilium_l7::{ConnectionInfo, Forward, Log, Policy, Protocol};

use crate::closed::{Cause, Closed};
use crate::config::PREFIX;
use crate::core::{Core, New};
use crate::exchange::Exchange;
use crate::host::Shared;
use crate::lock;
use crate::queue::Job;

/// A connection whose bytes a guest's parser judges. Belongs to one worker. Dropping it ends the parser.
pub struct Session(Arc<Inner>);

/// Makes a connection's policy, once its protocol is known.
pub type MakePolicy = Box<dyn FnOnce(Arc<dyn Protocol>) -> Box<dyn Policy + Send> + Send>;

/// What a session starts with.
pub struct NewSession {
    /// The parser, as [`Host::want`](crate::Host::want) knows it.
    pub parser: Arc<str>,
    /// Who talks to whom.
    pub info: ConnectionInfo,
    /// Makes the policy, which is asked on the host's thread.
    pub policy: MakePolicy,
    /// Takes the access log records, on the host's thread.
    pub log: Box<dyn Log + Send>,
    /// Has the worker call [`Session::next`], soon. Called on other threads, and never once the session is dropped.
    pub wake: Box<dyn Fn() + Send>,
}

/// Bytes to be sent on, and whether the direction ends with them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "see above")]
pub struct Effect {
    pub reply: bool,
    pub bytes: Vec<u8>,
    pub end: bool,
}

/// What became of bytes that were put in.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// They are known to be forwarded like this.
    Now(Forward),
    /// They wait. `pause`: enough do, and nothing more should be read for now.
    Later {
        /// See above.
        pause: bool,
    },
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) parser: Arc<str>,
    pub(crate) exchange: Mutex<Exchange>,
    /// INVARIANT: locked for long by the host's thread only, while the exchange is busy.
    pub(crate) core: Mutex<Option<Core>>,
    wake: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Session {
    pub(crate) fn start(shared: &Arc<Shared>, new: NewSession) -> Self {
        let core = Core::New(Box::new(New { info: new.info, policy: new.policy, log: new.log }));
        let inner = Arc::new(Inner {
            shared: Arc::clone(shared),
            parser: new.parser,
            exchange: Mutex::new(Exchange::busy()),
            core: Mutex::new(Some(core)),
            wake: Mutex::new(Some(new.wake)),
        });
        shared.queue.push(Job::Run(Arc::clone(&inner)));
        Self(inner)
    }

    /// Puts bytes in.
    pub fn push(&self, reply: bool, data: &[u8], end: bool) -> Result<Pushed, Closed> {
        let limits = &self.0.shared.config.limits;
        let mut exchange = lock(&self.0.exchange);
        if let Some(closed) = &exchange.closed {
            return Err(closed.clone());
        }
        if !end
            && exchange.is_quiet()
            && let Some(now) = self.0.at_once(reply, data)
        {
            return now.map(Pushed::Now);
        }
        exchange.push(reply, data, end);
        if !std::mem::replace(&mut exchange.busy, true) {
            self.0.shared.queue.push(Job::Run(Arc::clone(&self.0)));
        }
        let all = self.0.shared.add_waiting(data.len());
        let own = exchange.waiting()[usize::from(reply)];
        let overflow = |bytes, whose: &str| {
            let reason = format!("{PREFIX}{}: {bytes} bytes of {whose} wait", self.0.parser);
            Some(Closed::new(Cause::Overflow, reason))
        };
        let refusal = if own > limits.waiting {
            overflow(own, if reply { "the server" } else { "the client" })
        } else if all > limits.total {
            overflow(all, "all connections with Python parsers")
        } else {
            // Asked after the connection was queued: what is queued before the guest becomes unavailable is closed then.
            self.0.shared.unavailable()
        };
        if let Some(closed) = refusal {
            self.0.shared.remove_waiting(exchange.close(closed.clone()));
            return Err(closed);
        }
        Ok(Pushed::Later { pause: exchange.waiting()[0] > limits.pause })
    }

    /// What is to be sent on next. `None`: nothing, until it is woken again.
    pub fn next(&self) -> Result<Option<Effect>, Closed> {
        let mut exchange = lock(&self.0.exchange);
        match &exchange.closed {
            Some(closed) => Err(closed.clone()),
            None => Ok(exchange.next()),
        }
    }

    /// Whether nothing waits any more.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        lock(&self.0.exchange).is_quiet()
    }

    /// Whether reading may go on where it was paused.
    #[must_use]
    pub fn may_resume(&self) -> bool {
        lock(&self.0.exchange).waiting()[0] <= self.0.shared.config.limits.pause / 2
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Waits while it is called.
        drop(lock(&self.0.wake).take());
        let mut exchange = lock(&self.0.exchange);
        let bytes = exchange.close(Closed::new(Cause::Protocol, "the connection has ended"));
        self.0.shared.remove_waiting(bytes);
        if exchange.busy {
            return;
        }
        drop(exchange);
        if let Some(core) = lock(&self.0.core).take() {
            self.0.shared.queue.push(Job::Free(Arc::clone(&self.0.parser), core));
        }
    }
}

impl Inner {
    /// What becomes of bytes that were decided on before, which needs no parser.
    fn at_once(&self, reply: bool, data: &[u8]) -> Option<Result<Forward, Closed>> {
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return None,
        };
        match core.as_mut() {
            Some(Core::Open(open)) if data.len() <= open.decided(reply) => {
                Some(open.forward(reply, false, data).map_err(|(closed, _)| closed))
            }
            _ => None,
        }
    }

    /// Ends it from the host's side.
    pub(crate) fn close(&self, closed: Closed) {
        let bytes = lock(&self.exchange).close(closed);
        self.shared.remove_waiting(bytes);
        self.wake();
    }

    /// Has the worker look, unless it is about to.
    pub(crate) fn wake(&self) {
        if std::mem::replace(&mut lock(&self.exchange).woken, true) {
            return;
        }
        if let Some(wake) = &*lock(&self.wake) {
            wake();
        }
    }
}
