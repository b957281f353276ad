//! Connections that wait until Envoy has the TLS context that policy chose for them.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cilium_abi::listener::{Accepted, Scheduler};

use crate::enforced;
use crate::timer::Timer;

/// How long a connection waits.
const LIMIT: Duration = Duration::from_secs(5);

/// The event that a connection has waited long enough. All others are generations of contexts.
const TIME: u64 = u64::MAX;

static WAITING: LazyLock<Mutex<Waiting>> = LazyLock::new(Mutex::default);

thread_local! {
    static HEARD: Cell<u64> = const { Cell::new(0) };
}

#[derive(Default)]
struct Waiting {
    connections: HashMap<u64, Scheduler>,
    last: u64,
}

/// The generation of contexts that this worker has heard of for sure: what Envoy's main thread posted to its workers
/// before that generation was announced has been done here.
pub(crate) fn heard() -> u64 {
    HEARD.get()
}

/// A new generation is there: connections look again.
pub(crate) fn announce(generation: u64) {
    for scheduler in lock().connections.values() {
        scheduler.commit(generation);
    }
}

/// A connection's place among those that wait; leaves it when dropped.
pub(crate) struct Hold {
    number: u64,
    until: Instant,
    _timer: Timer,
}

impl Hold {
    /// Has the connection wait. It looks again at once: by then the worker has heard of the generation that is in force
    /// now, and of every later one it is told.
    ///
    /// Fails when the system gives the module no thread.
    pub(crate) fn new(connection: &Accepted<'_>) -> io::Result<Self> {
        let until = Instant::now() + LIMIT;
        let (on_time, on_change) = (connection.scheduler(), connection.scheduler());
        let timer = Timer::new(until, move || on_time.commit(TIME))?;
        let mut waiting = lock();
        // A generation is in force before it is announced: what is not seen here is announced to this connection.
        on_change.commit(enforced::load().tls.generation());
        waiting.last += 1;
        let number = waiting.last;
        waiting.connections.insert(number, on_change);
        Ok(Self { number, until, _timer: timer })
    }

    /// Takes note of an event of the connection's; whether it may wait on.
    pub(crate) fn on_event(&self, event: u64) -> bool {
        if event != TIME {
            HEARD.set(HEARD.get().max(event));
        }
        Instant::now() < self.until
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock().connections.remove(&self.number);
    }
}

fn lock() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}
