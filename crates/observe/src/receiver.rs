//! The thread that receives the access log.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::Tell;
use crate::error::reason;
use crate::listener::{ListenError, Listener, Transport};
use crate::queue::Queue;
use crate::sender::{BUFFER, Sender, Turn};
use crate::signal::Signal;
use crate::stats::Received;

/// Until senders are accepted again after that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Turns that a sender gets when the receiver ends: what waits in its socket, and no more of one that goes on and on.
const DRAIN: usize = 16;

/// Puts the entries of any number of senders into a queue, in a thread of its own, until it is closed or dropped. Then it
/// takes what has arrived and removes the socket.
#[derive(Debug)]
pub struct Receiver {
    outlet: Arc<Outlet>,
    stop: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where entries go.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Without one they are counted and forgotten.
    queue: Mutex<Option<Arc<Queue>>>,
    pub(crate) counts: Received,
}

struct Receiving {
    listener: Listener,
    transport: Transport,
    senders: Vec<Sender>,
    buffer: Vec<u8>,
    outlet: Arc<Outlet>,
    tell: Tell,
    /// Senders are not accepted before this, because that failed.
    paused: Option<Instant>,
}

impl Receiver {
    /// Listens on `path`. Without a queue entries are counted and forgotten.
    pub fn start(
        path: &Path,
        transport: Transport,
        queue: Option<Arc<Queue>>,
        tell: Tell,
    ) -> Result<Self, ListenError> {
        let listener = Listener::bind(path, transport)?;
        let stop = Arc::new(Signal::new().map_err(|error| ListenError::new(path, &error))?);
        let outlet = Arc::new(Outlet { queue: Mutex::new(queue), counts: Received::default() });
        let receiving = Receiving {
            listener,
            transport,
            senders: Vec::new(),
            buffer: vec![0; BUFFER],
            outlet: Arc::clone(&outlet),
            tell,
            paused: None,
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("log-receiver".to_owned())
            .spawn(move || receiving.run(&stopped))
            .map_err(|error| ListenError::new(path, &error))?;
        Ok(Self { outlet, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Entries go to another queue from now on; when this returns, none goes to the one before.
    pub fn redirect(&self, queue: Option<Arc<Queue>>) {
        *self.outlet.queue() = queue;
    }

    /// Counts so far.
    #[must_use]
    pub fn counts(&self) -> &Received {
        &self.outlet.counts
    }

    /// Takes what has arrived and stops listening. Waits for the thread, which may be about to [`Tell`] something.
    pub fn close(&self) {
        self.stop.set();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // That it panicked was said on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.set();
    }
}

impl Outlet {
    /// Puts entries into the queue, and counts them.
    pub(crate) fn put<'e>(&self, entries: impl Iterator<Item = &'e [u8]>) {
        let mut received = 0;
        let entries = entries.inspect(|_| received += 1);
        match &*self.queue() {
            Some(queue) => queue.put(entries),
            None => entries.for_each(drop),
        }
        self.counts.received.add(received);
    }

    fn queue(&self) -> MutexGuard<'_, Option<Arc<Queue>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiving {
    fn run(mut self, stop: &Signal) {
        while let Some(ready) = self.wait(stop) {
            if ready.accept {
                self.accept();
            }
            self.receive(&ready.senders);
        }
        self.drain();
    }

    /// Who has something; None when the receiver shall end.
    fn wait(&mut self, stop: &Signal) -> Option<Ready> {
        let pause = self.paused.and_then(|until| until.checked_duration_since(Instant::now()));
        if pause.is_none() {
            self.paused = None;
        }
        // A listener that cannot accept stays readable.
        let listener = if pause.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut descriptors = vec![PollFd::new(stop, PollFlags::IN), PollFd::new(&self.listener, listener)];
        descriptors.extend(self.senders.iter().map(|sender| PollFd::new(sender, PollFlags::IN)));
        let timeout = pause.and_then(|pause| Timespec::try_from(pause).ok());
        if poll(&mut descriptors, timeout.as_ref()).is_err() {
            return Some(Ready { accept: false, senders: Vec::new() });
        }
        let mut ready = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty());
        if ready.next()? {
            return None;
        }
        Some(Ready { accept: ready.next()? && pause.is_none(), senders: ready.collect() })
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok(socket) => self.senders.push(Sender::new(socket, self.transport)),
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    // Out of descriptors: the sender keeps waiting.
                    let (path, reason) = (self.listener.path().display(), reason(&error.into()));
                    self.tell.say(&format!("access log: cannot accept a sender on {path}: {reason}"));
                    self.paused = Some(Instant::now() + PAUSE);
                    break;
                }
            }
        }
        self.outlet.counts.senders.set(self.senders.len());
    }

    fn receive(&mut self, ready: &[bool]) {
        let mut ready = ready.iter();
        let mut senders = std::mem::take(&mut self.senders);
        // Those that were accepted just now have their turn next time.
        senders.retain_mut(|sender| !ready.next().is_some_and(|ready| *ready) || self.turn(sender).is_some());
        self.senders = senders;
        self.outlet.counts.senders.set(self.senders.len());
    }

    /// Lets a sender have its turn; whether it brought something, None when the sender is to be forgotten.
    fn turn(&mut self, sender: &mut Sender) -> Option<bool> {
        match sender.receive(&mut self.buffer, &self.outlet) {
            Turn::Taken => Some(true),
            Turn::Idle => Some(false),
            Turn::Ended => None,
            Turn::Invalid(invalid) => {
                self.outlet.counts.received.add(1);
                self.outlet.counts.malformed.add(1);
                let path = self.listener.path().display();
                self.tell.say(&format!("access log: the connection of a sender on {path} is closed: {invalid}"));
                None
            }
        }
    }

    fn drain(&mut self) {
        self.accept();
        for mut sender in std::mem::take(&mut self.senders) {
            for _ in 0..DRAIN {
                if self.turn(&mut sender) != Some(true) {
                    break;
                }
            }
        }
        self.outlet.counts.senders.set(0);
    }
}

/// What can be done without waiting: for each sender, in their order, whether it has something.
struct Ready {
    accept: bool,
    senders: Vec<bool>,
}
