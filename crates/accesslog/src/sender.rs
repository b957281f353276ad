//! The connection that entries go over, made again when the receiver was away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cilium_proto::cilium::LogEntry;
use prost::Message;
use rustix::io::Errno;

use crate::batch::Entries;
use crate::stats::{Counters, Dropped, Stats};
use crate::transport::{Connection, SendError, Transport};
use crate::trim::trim;

/// First and longest time between attempts to connect.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// Sends log entries to the receiver that listens on a Unix socket, if there is one.
///
/// No call waits: the socket is non-blocking, and a Unix socket then refuses a connection at once rather than wait for room
/// in the backlog.
#[derive(Debug)]
pub struct Sender {
    path: PathBuf,
    transport: Transport,
    connection: Option<Connection>,
    /// Attempts to connect that failed since the last that did not.
    failures: u32,
    /// No attempt to connect before this.
    not_before: Option<Instant>,
    counters: Arc<Counters>,
}

impl Sender {
    /// The sender to `path`; "@name" is the abstract socket "name". Behind "stream:" stands the path of a receiver that
    /// takes a stream of entries, each behind its length as a varint, rather than packets.
    ///
    /// Connects when there is something to send, now and whenever the receiver was away.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let (transport, path) = Transport::of(path);
        Self {
            path: path.to_owned(),
            transport,
            connection: None,
            failures: 0,
            not_before: None,
            counters: Arc::default(),
        }
    }

    /// Counts since it was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Sends a serialised `cilium.LogEntry`, cut to the transport's limit if it is larger.
    pub fn send(&mut self, encoded: &[u8]) -> Result<(), Dropped> {
        let sent = self.send_first(&Entries::one(encoded, &[encoded.len()]));
        sent.map(drop).inspect_err(|reason| self.counters.dropped(*reason))
    }

    /// Sends the first of the entries; how many, at least one. A failure is not counted yet: the caller may try again.
    pub(crate) fn send_first(&mut self, entries: &Entries<'_>) -> Result<usize, Dropped> {
        let limit = self.transport.limit();
        let count = match entries.first() {
            None => return Ok(0),
            Some(first) if first.len() > limit => {
                let mut entry = LogEntry::decode(first).map_err(|_| Dropped::Oversized)?;
                if !trim(&mut entry, limit) {
                    return Err(Dropped::Oversized);
                }
                let encoded = entry.encode_to_vec();
                let count = self.connected(|connection| connection.send(std::iter::once(&*encoded)))?;
                Counters::add(&self.counters.trimmed, 1);
                count
            }
            Some(_) => self.connected(|connection| connection.send(entries.up_to(limit)))?,
        };
        Counters::add(&self.counters.sent, count);
        Ok(count)
    }

    /// Acts on the connection; on a new one when the receiver is found to be gone, which may have been restarted.
    fn connected(
        &mut self,
        mut act: impl FnMut(&mut Connection) -> Result<usize, SendError>,
    ) -> Result<usize, Dropped> {
        for _ in 0..2 {
            let was_open = self.connection.is_some();
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connect()?,
            };
            match act(&mut connection) {
                Err(SendError::Gone) if was_open => {}
                Err(SendError::Gone) => break,
                Err(SendError::Dropped(reason)) => {
                    self.connection = Some(connection);
                    return Err(reason);
                }
                Ok(count) => {
                    self.connection = Some(connection);
                    return Ok(count);
                }
            }
        }
        Err(Dropped::Absent)
    }

    fn connect(&mut self) -> Result<Connection, Dropped> {
        let now = Instant::now();
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return Err(Dropped::Absent);
        }
        match Connection::open(&self.path, self.transport) {
            Ok(connection) => {
                (self.failures, self.not_before) = (0, None);
                Counters::add(&self.counters.connects, 1);
                Ok(connection)
            }
            Err(error) => {
                let wait = RETRY_FIRST.saturating_mul(1 << self.failures.min(8)).min(RETRY_LAST);
                (self.failures, self.not_before) = (self.failures.saturating_add(1), Some(now + wait));
                Err(match error {
                    Errno::NOENT | Errno::CONNREFUSED => Dropped::Absent,
                    Errno::AGAIN => Dropped::Full,
                    _ => Dropped::Failed,
                })
            }
        }
    }
}
