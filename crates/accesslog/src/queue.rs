//! What is between a worker and the socket, so that a worker pays for neither system calls nor the receiver's wake-ups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{io, mem};

use cilium_proto::cilium::EntryType;

use crate::batch::{Batch, Entries};
use crate::entry::Entry;
use crate::sender::Sender;
use crate::stats::{Counters, Dropped, Stats};
use crate::watch::{Observer, Watch};

/// Bytes that may wait for the thread. A receiver that is slower than its workers loses what comes then.
const CAPACITY: usize = 4 << 20;

/// How long the thread lets entries gather while there are more to come; it sends the first after a pause at once.
const GATHER: Duration = Duration::from_millis(5);

/// How often, a [`GATHER`] apart, a receiver without room is tried before its entry is dropped.
const ATTEMPTS: u32 = 40;

/// Queues in use, one per path.
static QUEUES: Mutex<BTreeMap<PathBuf, Weak<Queue>>> = Mutex::new(BTreeMap::new());

/// Takes entries from all workers and sends them from a thread of its own, in order.
///
/// A worker holds the lock while it encodes one entry, the thread while it swaps two vectors.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Batch>,
    counters: Arc<Counters>,
    /// The thread sleeps until it is woken.
    parked: AtomicBool,
    /// Nobody holds the queue any more.
    ended: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Queue {
    /// The queue of `path`, shared with everyone who has it open; see [`Sender::new`]. `observer` is that of whoever
    /// opened it first.
    ///
    /// Fails when the system refuses a thread.
    pub fn open(path: &Path, observer: Option<&'static dyn Observer>) -> io::Result<Arc<Self>> {
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(path).and_then(Weak::upgrade) {
            return Ok(queue);
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let sender = Sender::new(path);
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            counters: Arc::clone(sender.counters()),
            parked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let own = Arc::clone(&shared);
        let watch = Watch::new(path, observer);
        let handle = thread::Builder::new().name("access-log".to_owned()).spawn(move || own.run(sender, watch))?;
        // Set once, right here.
        let _ = shared.thread.set(handle.thread().clone());
        let queue = Arc::new(Self { shared });
        queues.insert(path.to_owned(), Arc::downgrade(&queue));
        Ok(queue)
    }

    /// Encodes `entry` as one of type `kind`, to be sent soon. Dropped, and counted, when too much is waiting.
    pub fn log(&self, entry: &mut Entry, kind: EntryType) {
        let shared = &self.shared;
        {
            let mut waiting = shared.waiting();
            if waiting.bytes.len() >= CAPACITY {
                drop(waiting);
                entry.mark_logged(kind);
                shared.counters.dropped(Dropped::Full);
                return;
            }
            entry.encode(kind, &mut waiting.bytes);
            waiting.end_entry();
        }
        shared.wake();
    }

    /// What became of the entries so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // The thread sends what is waiting and ends; nobody waits for it.
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.wake();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Batch> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // The load keeps the line shared between workers: the thread rarely sleeps when there is much to do.
        let woken = self.parked.load(Ordering::SeqCst) && self.parked.swap(false, Ordering::SeqCst);
        if let (true, Some(thread)) = (woken, self.thread.get()) {
            thread.unpark();
        }
    }

    fn run(&self, mut sender: Sender, mut watch: Watch) {
        let mut batch = Batch::default();
        loop {
            mem::swap(&mut batch, &mut *self.waiting());
            if batch.is_empty() {
                if self.ended.load(Ordering::SeqCst) {
                    return;
                }
                self.parked.store(true, Ordering::SeqCst);
                // Whoever added an entry before the store did not wake this thread.
                if self.waiting().is_empty() && !self.ended.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.parked.store(false, Ordering::SeqCst);
                continue;
            }
            self.send(&mut sender, batch.entries());
            batch.clear();
            watch.look(self.counters.read(), Instant::now());
            thread::sleep(GATHER);
        }
    }

    fn send(&self, sender: &mut Sender, mut entries: Entries<'_>) {
        let mut attempts = 0;
        while !entries.is_empty() {
            let gone = match sender.send_first(&entries) {
                Ok(sent) => sent,
                Err(Dropped::Full) if attempts < ATTEMPTS => {
                    attempts += 1;
                    thread::sleep(GATHER);
                    continue;
                }
                Err(reason) => {
                    self.counters.dropped(reason);
                    1
                }
            };
            entries.skip(gone);
            attempts = 0;
        }
    }
}
