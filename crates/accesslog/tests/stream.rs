//! Entries in a stream, with real sockets: framing, slow receivers, and receivers that come back.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cilium_accesslog::{Connection, Dropped, Entry, EntryType, LogEntry, MAX_PACKET, Queue, Sender};
use prost::Message;

struct Receiver(UnixStream);

impl Receiver {
    fn accept(listener: &UnixListener) -> Self {
        Self(listener.accept().unwrap().0)
    }

    fn next(&mut self) -> LogEntry {
        let (mut length, mut shift) = (0, 0);
        loop {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut entry = vec![0; length];
        self.0.read_exact(&mut entry).unwrap();
        LogEntry::decode(entry.as_slice()).unwrap()
    }
}

fn socket() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("log.sock");
    let path = Path::new(&format!("stream:{}", socket.display())).to_owned();
    (directory, socket, path)
}

fn log(queue: &Queue, timestamp: u64) {
    let mut entry = Entry::new();
    entry.init_from_connection(&Connection::default(), timestamp);
    queue.log(&mut entry, EntryType::Request);
}

#[test]
fn entries_arrive_in_order_and_whole() {
    let (_directory, socket, path) = socket();
    let listener = UnixListener::bind(&socket).unwrap();
    let queue = Queue::open(&path, None).unwrap();
    (1..=1000).for_each(|number| log(&queue, number));
    let mut receiver = Receiver::accept(&listener);
    for number in 1..=1000 {
        assert_eq!(receiver.next().timestamp, number);
    }
}

#[test]
fn a_slow_receiver_loses_nothing_that_fits_the_queue() {
    let (_directory, socket, path) = socket();
    let listener = UnixListener::bind(&socket).unwrap();
    let queue = Queue::open(&path, None).unwrap();
    log(&queue, 1);
    let mut receiver = Receiver::accept(&listener);
    // Far more than the socket has room for.
    (2..400_000).for_each(|number| log(&queue, number));
    thread::sleep(Duration::from_millis(50));
    let mut last = 0;
    while last < 399_999 {
        let next = receiver.next().timestamp;
        assert_eq!(next, last + 1);
        last = next;
    }
    assert_eq!(queue.stats().dropped(), 0);
}

#[test]
fn a_receiver_that_restarted_gets_whole_entries() {
    let (_directory, socket, path) = socket();
    let listener = UnixListener::bind(&socket).unwrap();
    let mut sender = Sender::new(&path);
    let entry = LogEntry { policy_name: "p".repeat(60_000), ..LogEntry::default() }.encode_to_vec();
    // Until half an entry is on its way.
    while sender.send(&entry).is_ok() {}
    drop((Receiver::accept(&listener), listener));
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(sender.send(&entry), Ok(()));
    assert_eq!(Receiver::accept(&listener).next().policy_name.len(), 60_000);
}

#[test]
fn only_what_is_too_large_for_the_stream_is_cut() {
    let (_directory, socket, path) = socket();
    let listener = UnixListener::bind(&socket).unwrap();
    let mut sender = Sender::new(&path);
    for length in [2 * MAX_PACKET, 100_000] {
        sender.send(&LogEntry { policy_name: "p".repeat(length), ..LogEntry::default() }.encode_to_vec()).unwrap();
    }
    let mut receiver = Receiver::accept(&listener);
    assert_eq!(receiver.next().policy_name.len(), 2 * MAX_PACKET);
    assert!(receiver.next().encoded_len() <= 64 << 10);
    assert_eq!(sender.stats().trimmed, 1);
}

#[test]
fn without_receiver_entries_are_absent() {
    let (_directory, _, path) = socket();
    assert_eq!(Sender::new(&path).send(b""), Err(Dropped::Absent));
}
