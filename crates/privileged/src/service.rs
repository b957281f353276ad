//! The service: keeps the privileges Envoy gives up and does three things with them, on request.
//!
//! One thread per connection, in the process that keeps Envoy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;

use crate::connection;
use crate::opener::Opener;
use crate::root::BpfRoot;
use crate::sys::{self, ReadableMap};
use crate::wire::{self, Answer, Request};

/// Connections at a time, besides the first: 64 for each of two users in an Envoy.
const MAX_CONNECTIONS: usize = 128;
/// Bytes of stack of a connection's thread.
const STACK: usize = 128 * 1024;

#[derive(Debug)]
struct Shared {
    opener: Opener,
    connections: AtomicUsize,
}

/// Starts the service in threads of this process, whose capabilities it uses; the program's connection to it.
pub(crate) fn start(roots: Vec<BpfRoot>) -> std::io::Result<OwnedFd> {
    let (service, program) = connection::pair()?;
    thread::Builder::new().name("privileged".into()).spawn(move || serve(roots, service.as_fd()))?;
    Ok(program)
}

/// Answers requests on `entrance`, and on connections made over it in threads of their own, until the other end of
/// `entrance` is closed. Opens BPF maps below `roots` only.
fn serve(roots: Vec<BpfRoot>, entrance: BorrowedFd<'_>) {
    let shared = Arc::new(Shared { opener: Opener::new(roots), connections: AtomicUsize::new(0) });
    answer(&shared, entrance);
}

/// Starts a connection's thread; the client's end.
fn start_connection(shared: &Arc<Shared>) -> Result<OwnedFd, Errno> {
    let (service, client) = connection::pair()?;
    if shared.connections.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
        shared.connections.fetch_sub(1, Ordering::Relaxed);
        return Err(Errno::NOBUFS);
    }
    let owned = Arc::clone(shared);
    let thread = thread::Builder::new().name("connection".into()).stack_size(STACK).spawn(move || {
        answer(&owned, service.as_fd());
        owned.connections.fetch_sub(1, Ordering::Relaxed);
    });
    if thread.is_err() {
        shared.connections.fetch_sub(1, Ordering::Relaxed);
        return Err(Errno::AGAIN);
    }
    Ok(client)
}

fn answer(shared: &Arc<Shared>, connection: BorrowedFd<'_>) {
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
    Opened(Arc<ReadableMap>),
    Found(usize),
}

impl Outcome {
    fn answer<'v>(&self, value: &'v [u8]) -> Answer<'v> {
        match self {
            Outcome::Done | Outcome::Connected(_) => Answer::Done,
            Outcome::Opened(map) => Answer::Map(*map.info()),
            Outcome::Found(length) => Answer::Value(value.get(..*length).unwrap_or_default()),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Outcome::Connected(client) => Some(client.as_fd()),
            Outcome::Opened(map) => Some(map.as_fd()),
            Outcome::Done | Outcome::Found(_) => None,
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
