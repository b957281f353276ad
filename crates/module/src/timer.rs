//! Timers of filters, which Envoy gives them none of: one thread for all, which posts to the filters' workers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

/// Has a filter told that its time has come, or had come before it was set anew.
type Post = Box<dyn Fn() + Send>;

static CLOCK: Clock = Clock { times: OnceLock::new(), wake: Condvar::new() };

struct Clock {
    times: OnceLock<Mutex<Times>>,
    wake: Condvar,
}

#[derive(Default)]
struct Times {
    /// Also holds times that have been set anew since, or belong to filters that are gone.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Present time of each filter that is there.
    waiting: HashMap<u64, (Instant, Post)>,
    last: u64,
}

/// The timer of one filter; ends when dropped.
pub(crate) struct Timer(u64);

impl Timer {
    /// A timer that calls `post` at that time, on a thread of its own. Fails when the system gives the module none.
    pub(crate) fn new(at: Instant, post: impl Fn() + Send + 'static) -> io::Result<Self> {
        start()?;
        let mut times = CLOCK.lock();
        times.last += 1;
        let number = times.last;
        times.waiting.insert(number, (at, Box::new(post)));
        let first = times.add(number, at);
        drop(times);
        if first {
            CLOCK.wake.notify_one();
        }
        Ok(Self(number))
    }

    /// Sets another time.
    pub(crate) fn set(&self, at: Instant) {
        let mut times = CLOCK.lock();
        if let Some((present, _)) = times.waiting.get_mut(&self.0) {
            *present = at;
        }
        let first = times.add(self.0, at);
        drop(times);
        if first {
            CLOCK.wake.notify_one();
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // The scheduler in it goes along, and so do posts to a worker that is about to end.
        CLOCK.lock().waiting.remove(&self.0);
    }
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut times = self.lock();
        loop {
            let now = Instant::now();
            times.post(now);
            let next = times.due.peek().map(|Reverse((at, _))| at.saturating_duration_since(now));
            times = match next {
                Some(rest) => self.wake.wait_timeout(times, rest).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(times).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Times {
    /// Tells whether it is the next one.
    fn add(&mut self, number: u64, at: Instant) -> bool {
        self.due.push(Reverse((at, number)));
        self.due.peek().is_some_and(|Reverse((_, next))| *next == number)
    }

    fn post(&mut self, now: Instant) {
        while let Some(Reverse((at, number))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            if let Some((present, post)) = self.waiting.get(&number)
                && *present == at
            {
                post();
            }
        }
    }
}

/// Starts the thread, once. It lives as long as the process.
fn start() -> io::Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        thread::Builder::new().name("filter-timer".to_owned()).spawn(|| CLOCK.run())?;
        *started = true;
    }
    Ok(())
}
