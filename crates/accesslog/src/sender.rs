//! The socket that entries go to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use cilium_proto::cilium::{EntryType, LogEntry};
use prost::Message;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::entry::Entry;
use crate::stats::{Counters, Dropped, Stats};
use crate::trim::{MAX_PACKET, trim};

/// First and longest time between attempts to connect.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// Send buffer asked for, in bytes. The system's default has room for some 90 entries of a kilobyte, which a busy worker
/// makes in a few milliseconds: less than a receiver may be kept from running.
const SEND_BUFFER: usize = 1 << 20;

/// Senders in use, one per path.
static SENDERS: Mutex<BTreeMap<PathBuf, Weak<Sender>>> = Mutex::new(BTreeMap::new());

/// Sends log entries to the receiver that listens on a Unix socket, if there is one.
///
/// All workers share one sender and no call of theirs waits: the socket is non-blocking (a Unix socket then refuses a
/// connection at once rather than wait for room in the backlog), and of several workers that find the receiver gone one
/// connects while the others drop their entry.
#[derive(Debug)]
pub struct Sender {
    path: PathBuf,
    socket: ArcSwapOption<OwnedFd>,
    retry: Mutex<Retry>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Retry {
    /// Attempts to connect that failed since the last that did not.
    failures: u32,
    /// No attempt before this.
    not_before: Option<Instant>,
}

impl Sender {
    /// The sender to `path`, shared with everyone who has it open; "@name" is the abstract socket "name".
    ///
    /// Connects when there is something to send, now and whenever the receiver was away.
    #[must_use]
    pub fn open(path: &Path) -> Arc<Self> {
        let mut senders = SENDERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(path).and_then(Weak::upgrade) {
            return sender;
        }
        senders.retain(|_, sender| sender.strong_count() > 0);
        let sender = Arc::new(Self {
            path: path.to_owned(),
            socket: ArcSwapOption::empty(),
            retry: Mutex::default(),
            counters: Counters::default(),
        });
        senders.insert(path.to_owned(), Arc::downgrade(&sender));
        sender
    }

    /// Path of the receiver's socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Counts since [`open`](Self::open).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Encodes and sends `entry` as one of type `kind`.
    pub fn log(&self, entry: &mut Entry, kind: EntryType) -> Result<(), Dropped> {
        thread_local! {
            static PACKET: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        PACKET.with_borrow_mut(|packet| {
            packet.clear();
            entry.encode(kind, packet);
            self.send(packet)
        })
    }

    /// Sends a serialised `cilium.LogEntry`, cut to [`MAX_PACKET`] bytes if it is larger.
    pub fn send(&self, encoded: &[u8]) -> Result<(), Dropped> {
        let sent = self.attempt(encoded);
        if let Err(reason) = sent {
            self.count_dropped(reason);
        }
        sent
    }

    /// Sends like [`send`](Self::send), but a failure is not counted yet: the caller may try again.
    pub(crate) fn attempt(&self, encoded: &[u8]) -> Result<(), Dropped> {
        if encoded.len() <= MAX_PACKET {
            self.send_packet(encoded)?;
        } else {
            self.send_trimmed(encoded)?;
        }
        Counters::add(&self.counters.sent);
        Ok(())
    }

    pub(crate) fn count_dropped(&self, reason: Dropped) {
        self.counters.dropped(reason);
    }

    fn send_trimmed(&self, encoded: &[u8]) -> Result<(), Dropped> {
        let mut entry = LogEntry::decode(encoded).map_err(|_| Dropped::Oversized)?;
        if !trim(&mut entry) {
            return Err(Dropped::Oversized);
        }
        self.send_packet(&entry.encode_to_vec())?;
        Counters::add(&self.counters.trimmed);
        Ok(())
    }

    fn send_packet(&self, packet: &[u8]) -> Result<(), Dropped> {
        if let Some(socket) = &*self.socket.load() {
            match send(socket, packet) {
                Err(SendError::Gone) => self.forget(socket),
                Err(SendError::Dropped(reason)) => return Err(reason),
                Ok(()) => return Ok(()),
            }
        }
        let socket = self.connect()?;
        match send(&socket, packet) {
            Err(SendError::Gone) => {
                self.forget(&socket);
                Err(Dropped::Absent)
            }
            Err(SendError::Dropped(reason)) => Err(reason),
            Ok(()) => Ok(()),
        }
    }

    /// Drops `socket`, unless another worker has replaced it already.
    fn forget(&self, socket: &Arc<OwnedFd>) {
        self.socket.compare_and_swap(socket, None);
    }

    fn connect(&self) -> Result<Arc<OwnedFd>, Dropped> {
        let Ok(mut retry) = self.retry.try_lock() else { return Err(Dropped::Absent) };
        if let Some(socket) = self.socket.load_full() {
            return Ok(socket);
        }
        let now = Instant::now();
        if retry.not_before.is_some_and(|not_before| now < not_before) {
            return Err(Dropped::Absent);
        }
        match connect(&self.path) {
            Ok(socket) => {
                let socket = Arc::new(socket);
                self.socket.store(Some(Arc::clone(&socket)));
                *retry = Retry::default();
                Counters::add(&self.counters.connects);
                Ok(socket)
            }
            Err(error) => {
                let wait = RETRY_FIRST.saturating_mul(1 << retry.failures.min(8)).min(RETRY_LAST);
                *retry = Retry { failures: retry.failures.saturating_add(1), not_before: Some(now + wait) };
                Err(match error {
                    Errno::NOENT | Errno::CONNREFUSED => Dropped::Absent,
                    Errno::AGAIN => Dropped::Full,
                    _ => Dropped::Failed,
                })
            }
        }
    }
}

fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    let address = match path.as_os_str().as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        _ => SocketAddrUnix::new(path)?,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // What the system allows of it; with less more is dropped, and counted.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

enum SendError {
    /// The receiver closed the connection.
    Gone,
    /// The receiver is there, the entry is not.
    Dropped(Dropped),
}

fn send(socket: &OwnedFd, packet: &[u8]) -> Result<(), SendError> {
    let flags = SendFlags::DONTWAIT | SendFlags::EOR | SendFlags::NOSIGNAL;
    match rustix::net::send(socket, packet, flags) {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Err(SendError::Dropped(Dropped::Full)),
        Err(Errno::MSGSIZE) => Err(SendError::Dropped(Dropped::Oversized)),
        Err(_) => Err(SendError::Gone),
    }
}
