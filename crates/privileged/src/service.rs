//! The service: keeps the privileges Envoy gives up and does three things with them, on request.
//!
//! One thread per connection, with its signals blocked. Every thread is started by one that kept the capabilities of
//! the thread that called [`Service::spawn`]: capabilities belong to threads, so the caller may drop its own afterwards.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::net::sockopt::socket_domain;
use rustix::net::{AddressFamily, Shutdown, shutdown};

use crate::client::Client;
use crate::connection;
use crate::opener::Opener;
use crate::root::BpfRoot;
use crate::sys::{self, ReadableMap};
use crate::wire::{self, Answer, Request};

/// Connections at a time: 64 for each of two users in each of two Envoys (during a hot restart).
const MAX_CONNECTIONS: usize = 256;
/// Bytes of stack of a connection's thread.
const STACK: usize = 128 * 1024;

/// The running service. Dropping it ends all its connections.
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    client: Client,
}

/// Why the service does not run or a connection cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No thread or no socket.
    #[error("the privileged service cannot start: {0}")]
    Start(#[source] std::io::Error),
    /// No further connection.
    #[error("the privileged service cannot make a connection for Envoy: {0}")]
    Connect(#[source] std::io::Error),
}

#[derive(Debug)]
struct Shared {
    opener: Opener,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    closed: bool,
    next: u64,
    open: BTreeMap<u64, Arc<OwnedFd>>,
}

impl Service {
    /// Starts the service, which opens BPF maps below `roots` only. The descriptor is for a child's
    /// [`crate::SERVICE_FD_VARIABLE`]; it has close-on-exec set.
    pub fn spawn(roots: Vec<BpfRoot>) -> Result<(Self, OwnedFd), ServiceError> {
        let shared = Arc::new(Shared { opener: Opener::new(roots), connections: Mutex::default() });
        let start = |errno: Errno| ServiceError::Start(errno.into());
        let first = start_connection(&shared).map_err(start)?;
        let client = Client::disconnected();
        client.attach(first).map_err(start)?;
        let service = Service { shared, client };
        let child = service.connect()?;
        Ok((service, child))
    }

    /// A connection for another child, such as the Envoy of the next hot-restart epoch.
    pub fn connect(&self) -> Result<OwnedFd, ServiceError> {
        self.client.connect().map_err(|errno| ServiceError::Connect(errno.into()))
    }

    /// A client in this process.
    pub fn client(&self) -> Result<Client, ServiceError> {
        let client = Client::disconnected();
        client.attach(self.connect()?).map_err(|errno| ServiceError::Connect(errno.into()))?;
        Ok(client)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let mut connections = self.shared.connections();
        connections.closed = true;
        for connection in connections.open.values() {
            // Wakes its thread, which ends. One that is closed already needs no waking.
            let _ = shutdown(connection.as_fd(), Shutdown::Both);
        }
    }
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a connection's thread; the client's end.
fn start_connection(shared: &Arc<Shared>) -> Result<OwnedFd, Errno> {
    let (service, client) = connection::pair()?;
    let service = Arc::new(service);
    let number = {
        let mut connections = shared.connections();
        if connections.closed {
            return Err(Errno::PIPE);
        }
        if connections.open.len() >= MAX_CONNECTIONS {
            return Err(Errno::NOBUFS);
        }
        let number = connections.next;
        connections.next += 1;
        connections.open.insert(number, Arc::clone(&service));
        number
    };
    let owned = Arc::clone(shared);
    let thread = thread::Builder::new().name("privileged".into()).stack_size(STACK).spawn(move || {
        sys::block_signals();
        serve(&owned, service.as_fd());
        owned.connections().open.remove(&number);
    });
    if thread.is_err() {
        shared.connections().open.remove(&number);
        return Err(Errno::AGAIN);
    }
    Ok(client)
}

fn serve(shared: &Arc<Shared>, connection: BorrowedFd<'_>) {
    let mut buffer = [0; wire::MAX_REQUEST];
    let mut reply = [0; wire::MAX_REPLY];
    loop {
        let (request, fd) = match connection::receive(connection, &mut buffer) {
            Ok((0, _)) => return,
            Ok((length, fd)) => (Request::decode(buffer.get(..length).unwrap_or_default()), fd),
            // A packet longer than any request.
            Err(Errno::MSGSIZE) => (Err(wire::Malformed), None),
            Err(_) => return,
        };
        let mut value = [0; wire::MAX_VALUE];
        let (operation, sequence, outcome) = match request {
            Ok((sequence, request)) => (request.operation(), sequence, handle(shared, &request, fd, &mut value)),
            Err(wire::Malformed) => (0, 0, Err(Errno::INVAL)),
        };
        let (answer, passed) = match &outcome {
            Ok(outcome) => (Ok(outcome.answer(&value)), outcome.descriptor()),
            Err(errno) => (Err(*errno), None),
        };
        let Ok(packet) = wire::encode_reply(operation, sequence, answer, &mut reply) else { return };
        if connection::send(connection, packet, passed).is_err() {
            return;
        }
    }
}

/// What came of a request, with what must stay open until the reply is sent.
enum Outcome {
    Done,
    Connected(OwnedFd),
    Capabilities(u64),
    Opened(Arc<ReadableMap>),
    Found(usize),
}

impl Outcome {
    fn answer<'v>(&self, value: &'v [u8]) -> Answer<'v> {
        match self {
            Outcome::Done | Outcome::Connected(_) => Answer::Done,
            Outcome::Capabilities(effective) => Answer::Capabilities(*effective),
            Outcome::Opened(map) => Answer::Map(*map.info()),
            Outcome::Found(length) => Answer::Value(value.get(..*length).unwrap_or_default()),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Outcome::Connected(client) => Some(client.as_fd()),
            Outcome::Opened(map) => Some(map.as_fd()),
            Outcome::Done | Outcome::Capabilities(_) | Outcome::Found(_) => None,
        }
    }
}

fn handle(
    shared: &Arc<Shared>,
    request: &Request<'_>,
    fd: Option<OwnedFd>,
    value: &mut [u8; wire::MAX_VALUE],
) -> Result<Outcome, Errno> {
    match *request {
        Request::Connect => start_connection(shared).map(Outcome::Connected),
        Request::Capabilities => {
            let sets = rustix::thread::capabilities(None)?;
            Ok(Outcome::Capabilities(sets.effective.bits()))
        }
        Request::OpenMap(path) => shared.opener.open(path).map(Outcome::Opened),
        Request::LookUp { map, key } => {
            let map = shared.opener.find(map)?;
            let length = usize::try_from(map.info().value_size).map_err(|_| Errno::MSGSIZE)?;
            map.look_up(key, value.get_mut(..length).ok_or(Errno::MSGSIZE)?)?;
            Ok(Outcome::Found(length))
        }
        Request::Mark(mark) => {
            let socket = fd.ok_or(Errno::BADF)?;
            internet_family(&socket)?;
            sys::set_mark(socket, mark).map(|()| Outcome::Done)
        }
        Request::Transparent => {
            let socket = fd.ok_or(Errno::BADF)?;
            match internet_family(&socket)? {
                AddressFamily::INET => sys::set_ip_transparent(socket),
                _ => sys::set_ipv6_transparent(socket),
            }
            .map(|()| Outcome::Done)
        }
    }
}

fn internet_family(socket: &OwnedFd) -> Result<AddressFamily, Errno> {
    match socket_domain(socket)? {
        family @ (AddressFamily::INET | AddressFamily::INET6) => Ok(family),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

#[cfg(test)]
mod tests;
