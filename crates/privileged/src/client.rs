//! The client's side of the service, in Envoy: in the socket shim and in the filters.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use rustix::io::Errno;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use crate::connection;
use crate::sys::{self, MapInfo};
use crate::wire::{self, Answer, Malformed, Request};

/// The environment variable that holds the number of the inherited connection to the service.
pub const SERVICE_FD_VARIABLE: &str = "CILIUM_PRIVILEGED_SERVICE_FD";

/// As many threads as may ask at the same time without waiting for each other.
const CONNECTIONS: usize = 64;

/// Asks the service. Shared by all threads of a process; asking allocates nothing.
///
/// The inherited connection, which the shim and the filters share (and nobody knows what else in the process), carries
/// `Connect` requests only. Their replies are interchangeable, so that nobody needs to know whose came first. All else
/// goes over connections made so, each used by one thread at a time.
#[derive(Debug)]
pub struct Client {
    entrance: OnceLock<OwnedFd>,
    connections: [Mutex<Option<OwnedFd>>; CONNECTIONS],
    sequence: AtomicU32,
    turn: AtomicUsize,
}

impl Default for Client {
    fn default() -> Self {
        Self::disconnected()
    }
}

impl Client {
    /// A client of no service: everything fails with `EPERM`, until [`Client::attach`].
    #[must_use]
    pub const fn disconnected() -> Self {
        Client {
            entrance: OnceLock::new(),
            connections: [const { Mutex::new(None) }; CONNECTIONS],
            sequence: AtomicU32::new(0),
            turn: AtomicUsize::new(0),
        }
    }

    /// The client of the service this process inherited a connection to; a disconnected one when there is none.
    #[must_use]
    pub fn from_env() -> Self {
        let client = Self::disconnected();
        client.attach_from_env();
        client
    }

    /// [`Client::from_env`] for a client that exists already. Whether there is a service now.
    pub fn attach_from_env(&self) -> bool {
        let number = std::env::var(SERVICE_FD_VARIABLE).ok().and_then(|value| value.parse::<RawFd>().ok());
        let inherited = number.and_then(|number| sys::duplicate_inherited(number).ok());
        inherited.is_some_and(|fd| self.attach(fd).is_ok())
    }

    /// Uses this connection. `ENOTSOCK` or `EPROTOTYPE` when it cannot be one, `EALREADY` when the client has one.
    pub fn attach(&self, connection: OwnedFd) -> Result<(), Errno> {
        if socket_type(&connection)? != SocketType::SEQPACKET || socket_domain(&connection)? != AddressFamily::UNIX {
            return Err(Errno::PROTOTYPE);
        }
        self.entrance.set(connection).map_err(|_| Errno::ALREADY)
    }

    /// Whether this process was given a connection to the service.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.entrance.get().is_some()
    }

    /// Sets `SO_MARK` on `socket`.
    pub fn set_mark(&self, socket: BorrowedFd<'_>, mark: u32) -> Result<(), Errno> {
        self.ask(&Request::Mark(mark), Some(socket), |_, _| Ok(()))
    }

    /// Sets `IP_TRANSPARENT` or `IPV6_TRANSPARENT` on `socket`, whichever its family has.
    pub fn set_transparent(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        self.ask(&Request::Transparent, Some(socket), |_, _| Ok(()))
    }

    /// Has the map pinned at the absolute `path` opened for reading.
    pub(crate) fn open_map(&self, path: &[u8]) -> Result<(MapInfo, OwnedFd), Errno> {
        self.ask(&Request::OpenMap(path), None, |answer, fd| match (answer, fd) {
            (Answer::Map(info), Some(fd)) => Ok((info, fd)),
            _ => Err(Errno::PROTO),
        })
    }

    /// Looks `key` up in the map with this id, which this or another client of the service opened. `ESTALE` when the
    /// service has since closed it.
    pub(crate) fn look_up(&self, map: u32, key: &[u8], value: &mut [u8]) -> Result<(), Errno> {
        self.ask(&Request::LookUp { map, key }, None, |answer, _| match answer {
            Answer::Value(found) if found.len() == value.len() => {
                value.copy_from_slice(found);
                Ok(())
            }
            _ => Err(Errno::PROTO),
        })
    }

    fn ask<T>(
        &self,
        request: &Request<'_>,
        fd: Option<BorrowedFd<'_>>,
        read: impl FnOnce(Answer<'_>, Option<OwnedFd>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut slot = self.slot();
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let mut buffer = [0; wire::MAX_REPLY];
        let (length, received) = exchange(connection.as_fd(), request, sequence, fd, &mut buffer)?;
        let packet = buffer.get(..length).unwrap_or_default();
        let answer = wire::decode_reply(packet, request, sequence).map_err(|Malformed| Errno::PROTO)?;
        // Only a connection whose last exchange was whole is used again: a late reply must not answer another request.
        *slot = Some(connection);
        drop(slot);
        read(answer?, received)
    }

    pub(crate) fn connect(&self) -> Result<OwnedFd, Errno> {
        let entrance = self.entrance.get().ok_or(Errno::PERM)?;
        let mut buffer = [0; wire::MAX_REPLY];
        let (length, connection) = exchange(entrance.as_fd(), &Request::Connect, 0, None, &mut buffer)?;
        let packet = buffer.get(..length).unwrap_or_default();
        wire::decode_reply(packet, &Request::Connect, 0).map_err(|Malformed| Errno::PROTO)??;
        connection.ok_or(Errno::PROTO)
    }

    /// A connection nobody uses; with more threads than connections, one to wait for.
    fn slot(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        for slot in &self.connections {
            match slot.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(free)) => return free.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let slot = self.connections.get(turn).unwrap_or(&self.connections[0]);
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exchange(
    connection: BorrowedFd<'_>,
    request: &Request<'_>,
    sequence: u32,
    fd: Option<BorrowedFd<'_>>,
    reply: &mut [u8; wire::MAX_REPLY],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut buffer = [0; wire::MAX_REQUEST];
    let packet = request.encode(sequence, &mut buffer).map_err(|Malformed| Errno::INVAL)?;
    // The timeouts of the connection show as EAGAIN.
    let late = |errno| if errno == Errno::AGAIN { Errno::TIMEDOUT } else { errno };
    connection::send(connection, packet, fd).map_err(late)?;
    match connection::receive(connection, reply).map_err(late)? {
        (0, _) => Err(Errno::PIPE),
        received => Ok(received),
    }
}
