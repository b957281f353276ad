//! The thread that formats entries and writes them, so that a slow destination holds up nobody.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use cilium_proto::cilium::LogEntry;
use prost::Message as _;

use crate::Tell;
use crate::compact::Compact;
use crate::json;
use crate::names::Names;
use crate::queue::{Batch, Queue};
use crate::stats::Written;
use crate::target::{Destination, Form, Lines, Outcome, Packets, Target};

/// Bytes of lines written at once, roughly.
const WRITE: usize = 64 << 10;

/// Packets passed on at once, before they are counted.
const PACKETS: usize = 256;

/// Writes what is in a queue to a destination, in a thread of its own, until it is closed or dropped.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    names: Arc<ArcSwap<Names>>,
    reopen: Arc<AtomicBool>,
    counts: Arc<Written>,
    done: Mutex<mpsc::Receiver<()>>,
}

struct Writing {
    queue: Arc<Queue>,
    names: Arc<ArcSwap<Names>>,
    compact: Compact,
    text: String,
    report: Report,
    /// Dropped when the thread ends.
    _done: mpsc::Sender<()>,
}

/// What became of entries, for the statistics and the log.
struct Report {
    counts: Arc<Written>,
    tell: Tell,
    failing: bool,
}

impl Writer {
    /// Opens the destination, which may block: a named pipe is opened when somebody reads it.
    pub fn open(destination: Destination, names: Names, tell: Tell) -> io::Result<Self> {
        let reopen = Arc::new(AtomicBool::new(false));
        let target = Target::open(destination, Arc::clone(&reopen))?;
        let queue = Arc::new(Queue::new()?);
        let names = Arc::new(ArcSwap::from_pointee(names));
        let counts = Arc::new(Written::default());
        let (sender, done) = mpsc::channel();
        let writing = Writing {
            queue: Arc::clone(&queue),
            names: Arc::clone(&names),
            compact: Compact::default(),
            text: String::new(),
            report: Report { counts: Arc::clone(&counts), tell, failing: false },
            _done: sender,
        };
        // Nobody joins it: a destination may block for ever, which must not keep the process.
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || writing.run(target))?;
        Ok(Self { queue, names, reopen, counts, done: Mutex::new(done) })
    }

    /// What is put there is written.
    #[must_use]
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Calls identities and endpoints by other names from now on.
    pub fn set_names(&self, names: Names) {
        self.names.store(Arc::new(names));
    }

    /// Opens a log file anew before the next write, after a rotation.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }

    /// Counts so far.
    #[must_use]
    pub fn counts(&self) -> &Written {
        &self.counts
    }

    /// Writes what waits; false when that takes longer than `patience`. Then the destination blocks, and has what it
    /// still takes later.
    pub fn close(&self, patience: Duration) -> bool {
        self.queue.end();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.end();
    }
}

impl Writing {
    fn run(mut self, mut target: Target) {
        let mut batch = Batch::default();
        let mut ended = false;
        while !ended {
            self.queue.wait();
            ended = self.queue.take(&mut batch);
            match &mut target {
                Target::Lines(form, lines) => self.print(&batch, *form, lines),
                Target::Packets(packets) => self.pass_on(&batch, packets),
            }
        }
    }

    fn print(&mut self, batch: &Batch, form: Form, lines: &mut Lines) {
        let names = self.names.load();
        let counts = Arc::clone(&self.report.counts);
        let mut count = 0;
        for entry in batch.iter().filter_map(|entry| read(entry, &counts)) {
            match form {
                Form::Compact => self.compact.print(&entry, &names, &mut self.text),
                Form::Json => json::print(&entry, &mut self.text),
            }
            self.text.push('\n');
            count += 1;
            if self.text.len() >= WRITE {
                self.report.wrote(count, &lines.write(&self.text, count));
                self.text.clear();
                count = 0;
            }
        }
        if count > 0 {
            self.report.wrote(count, &lines.write(&self.text, count));
            self.text.clear();
        }
    }

    fn pass_on(&mut self, batch: &Batch, packets: &mut Packets) {
        let entries: Vec<_> = batch.iter().filter(|entry| read(entry, &self.report.counts).is_some()).collect();
        for entries in entries.chunks(PACKETS) {
            self.report.wrote(entries.len(), &packets.write(entries));
        }
    }
}

impl Report {
    fn wrote(&mut self, count: usize, outcome: &Outcome) {
        self.counts.written.add(outcome.taken);
        self.counts.failed.add(count - outcome.taken);
        if let (Some(error), false) = (&outcome.error, self.failing) {
            self.tell.say(&format!("access log: {error}; entries are lost until it works again"));
        }
        self.failing = outcome.error.is_some();
    }
}

/// The entry; one that is none is counted.
fn read(entry: &[u8], counts: &Written) -> Option<LogEntry> {
    let read = LogEntry::decode(entry).ok();
    if read.is_none() {
        counts.malformed.add(1);
    }
    read
}
