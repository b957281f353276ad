//! What is between the thread that receives and whoever takes the entries, so that neither waits for the other.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{io, mem};

use crate::signal::Signal;
use crate::stats::Counter;

/// Bytes that may wait, some 10,000 entries. As much again may be on its way to the destination.
const CAPACITY: usize = 8 << 20;

/// What an entry takes besides its bytes.
const OVERHEAD: usize = size_of::<usize>();

/// Bytes that an empty batch keeps room for.
const KEPT: usize = 1 << 20;

/// Serialised entries, one after the other.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let entry = &self.bytes[start..end];
            start = end;
            entry
        })
    }

    /// Makes room for others.
    pub(crate) fn clear(&mut self) {
        if self.size() > KEPT {
            *self = Self::default();
        }
        self.bytes.clear();
        self.ends.clear();
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * OVERHEAD
    }

    fn push(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(entry);
        self.ends.push(self.bytes.len());
    }
}

/// Entries that wait for one consumer. Readable, as a descriptor, when there are some.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    ready: Signal,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    ended: bool,
}

impl Queue {
    /// An empty one. Fails when the system refuses a descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Self { waiting: Mutex::default(), ready: Signal::new()?, dropped: Counter::default() })
    }

    /// Entries for which there was no room.
    #[must_use]
    pub fn dropped(&self) -> &Counter {
        &self.dropped
    }

    /// Adds entries; drops and counts those for which there is no room.
    pub(crate) fn put<'e>(&self, entries: impl Iterator<Item = &'e [u8]>) {
        let mut dropped = 0;
        let mut waiting = self.waiting();
        let before = waiting.batch.ends.len();
        for entry in entries {
            if waiting.batch.size() + entry.len() + OVERHEAD > CAPACITY {
                dropped += 1;
            } else {
                waiting.batch.push(entry);
            }
        }
        // What was there before has set it.
        let first = before == 0 && !waiting.batch.ends.is_empty();
        drop(waiting);
        self.dropped.add(dropped);
        if first {
            self.ready.set();
        }
    }

    /// Nothing is added any more.
    pub(crate) fn end(&self) {
        self.waiting().ended = true;
        self.ready.set();
    }

    /// Waits until there may be something to take.
    pub(crate) fn wait(&self) {
        self.ready.wait();
    }

    /// Puts all that waits into `batch`; whether nothing will come after it. Does not wait.
    pub fn take(&self, batch: &mut Batch) -> bool {
        batch.clear();
        // Cleared before: what is added after the look sets it again.
        self.ready.clear();
        let mut waiting = self.waiting();
        mem::swap(&mut waiting.batch, batch);
        waiting.ended
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &Queue) -> Vec<usize> {
        let mut batch = Batch::default();
        queue.take(&mut batch);
        batch.iter().map(<[u8]>::len).collect()
    }

    #[test]
    fn entries_come_out_in_order() {
        let queue = Queue::new().unwrap();
        queue.put([&b"a"[..], b"", b"bc"].into_iter());
        queue.put([&b"d"[..]].into_iter());
        let mut batch = Batch::default();
        assert!(!queue.take(&mut batch));
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bc", b"d"]);
        queue.put([&b"e"[..]].into_iter());
        queue.end();
        queue.wait();
        assert!(queue.take(&mut batch));
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"e"[..]]);
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let queue = Queue::new().unwrap();
        let entry = vec![7; CAPACITY / 4];
        queue.put([&*entry; 6].into_iter());
        // Small ones still fit.
        queue.put([&b"a"[..]].into_iter());
        assert_eq!(taken(&queue), [entry.len(), entry.len(), entry.len(), 1]);
        assert_eq!(queue.dropped().get(), 3);
        queue.put([&*entry].into_iter());
        assert_eq!(taken(&queue), [entry.len()]);
    }

    #[test]
    fn entries_without_bytes_are_bounded_too() {
        let queue = Queue::new().unwrap();
        queue.put(std::iter::repeat_n(&b""[..], CAPACITY));
        assert_eq!(taken(&queue).len(), CAPACITY / OVERHEAD);
        assert_eq!(queue.dropped().get(), (CAPACITY - CAPACITY / OVERHEAD) as u64);
    }
}
