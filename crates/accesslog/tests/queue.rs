//! The queue with real sockets: order, slow receivers, bounds, and its end.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cilium_accesslog::{Connection, Entry, EntryType, LogEntry, MAX_PACKET, Queue};
use prost::Message;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};

fn listen(path: &Path) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&socket, 4).unwrap();
    socket
}

/// The next entry; `None` when the sender has closed the connection.
fn receive(socket: &OwnedFd) -> Option<LogEntry> {
    let mut packet = vec![0; MAX_PACKET];
    let (len, _) = rustix::net::recv(socket, &mut packet[..], RecvFlags::empty()).unwrap();
    (len > 0).then(|| LogEntry::decode(&packet[..len]).unwrap())
}

fn log(queue: &Queue, timestamp: u64) {
    let mut entry = Entry::new();
    entry.init_from_connection(&Connection::default(), timestamp);
    queue.log(&mut entry, EntryType::Request);
}

#[test]
fn entries_of_a_worker_arrive_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sock");
    let listener = listen(&path);
    let queue = Queue::open(&path, None).unwrap();
    (1..=1000).for_each(|number| log(&queue, number));
    let socket = rustix::net::accept(&listener).unwrap();
    for number in 1..=1000 {
        assert_eq!(receive(&socket).unwrap().timestamp, number);
    }
}

#[test]
fn entries_after_a_pause_arrive_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sock");
    let listener = listen(&path);
    let queue = Queue::open(&path, None).unwrap();
    log(&queue, 1);
    let socket = rustix::net::accept(&listener).unwrap();
    assert_eq!(receive(&socket).unwrap().timestamp, 1);
    for number in 2..20 {
        thread::sleep(Duration::from_millis(3));
        log(&queue, number);
        assert_eq!(receive(&socket).unwrap().timestamp, number);
    }
}

#[test]
fn slow_receiver_loses_nothing_that_fits_the_queue() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sock");
    let listener = listen(&path);
    let queue = Queue::open(&path, None).unwrap();
    log(&queue, 1);
    let socket = rustix::net::accept(&listener).unwrap();
    // Far more than the socket has room for.
    (2..20_000).for_each(|number| log(&queue, number));
    thread::sleep(Duration::from_millis(50));
    for number in 1..20_000 {
        assert_eq!(receive(&socket).unwrap().timestamp, number);
    }
    assert_eq!(queue.stats().dropped(), 0);
}

#[test]
fn absent_receiver_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(&directory.path().join("nobody.sock"), None).unwrap();
    (0..100).for_each(|number| log(&queue, number));
    while queue.stats().absent < 100 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn last_entries_are_sent_when_the_queue_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sock");
    let listener = listen(&path);
    let queue = Queue::open(&path, None).unwrap();
    assert!(Arc::ptr_eq(&queue, &Queue::open(&path, None).unwrap()));
    (1..=100).for_each(|number| log(&queue, number));
    drop(queue);
    let socket = rustix::net::accept(&listener).unwrap();
    let received: Vec<u64> = std::iter::from_fn(|| receive(&socket)).map(|entry| entry.timestamp).collect();
    assert_eq!(received, (1..=100).collect::<Vec<_>>());
}
