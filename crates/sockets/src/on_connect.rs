//! Sockets whose source address waits for their destination.
//!
//! Envoy sets a socket's options and connects it on one thread, one socket after the other: a few places per thread are
//! enough. A socket is known by its cookie, which no other one ever has, since descriptors' numbers are used again.

use std::cell::Cell;
use std::ffi::c_int;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicPtr, Ordering};

use cilium_privileged::{SourceAddresses, sys};
use rustix::io::Errno;
use rustix::net::sockopt::socket_cookie;

use crate::apply;

const PLACES: usize = 32;

#[derive(Clone, Copy)]
pub(crate) struct Pending {
    fd: RawFd,
    cookie: u64,
    source: SocketAddr,
    linger: Option<u32>,
}

struct Places {
    pending: [Cell<Option<Pending>>; PLACES],
    count: Cell<usize>,
}

thread_local! {
    // Constant and without a destructor: nothing is allocated or registered.
    static PLACES_OF_THREAD: Places =
        const { Places { pending: [const { Cell::new(None) }; PLACES], count: Cell::new(0) } };
}

static LOCAL_CHECK: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

pub(crate) fn set_local_check(check: sys::LocalCheck) {
    LOCAL_CHECK.store(check as *mut (), Ordering::Release);
}

/// Has the socket bound to `source` when it connects. `ENOBUFS` when too many sockets of this thread wait for that: the
/// connection fails rather than coming from another address.
pub(crate) fn remember(socket: BorrowedFd<'_>, source: SocketAddr) -> Result<(), Errno> {
    let pending = Pending { fd: socket.as_raw_fd(), cookie: socket_cookie(socket)?, source, linger: None };
    with_places(|places| {
        let same = |place: &&Cell<Option<Pending>>| place.get().is_none_or(|other| other.fd == pending.fd);
        let (place, added) = match places.pending.iter().find(same) {
            Some(place) => (place, place.get().is_none()),
            None => (places.pending.iter().find(|place| is_gone(place.get())).ok_or(Errno::NOBUFS)?, false),
        };
        place.set(Some(pending));
        places.count.set(places.count.get() + usize::from(added));
        Ok(())
    })
    .unwrap_or(Err(Errno::NOBUFS))
}

/// Has the socket linger, if it will be bound to a port. Whether it waits to be bound at all.
pub(crate) fn linger(socket: BorrowedFd<'_>, seconds: u32) -> bool {
    with_places(|places| {
        let Some((place, pending)) = places.find(socket.as_raw_fd()) else { return false };
        if socket_cookie(socket) != Ok(pending.cookie) {
            return false;
        }
        place.set(Some(Pending { linger: Some(seconds), ..pending }));
        true
    })
    .unwrap_or(false)
}

/// What was remembered for this socket, which is forgotten.
pub(crate) fn take(fd: RawFd) -> Option<Pending> {
    with_places(|places| {
        if places.count.get() == 0 {
            return None;
        }
        let (place, pending) = places.find(fd)?;
        place.set(None);
        places.count.set(places.count.get() - 1);
        Some(pending)
    })
    .flatten()
}

fn with_places<T>(act: impl FnOnce(&Places) -> T) -> Option<T> {
    PLACES_OF_THREAD.try_with(act).ok()
}

impl Places {
    fn find(&self, fd: RawFd) -> Option<(&Cell<Option<Pending>>, Pending)> {
        self.pending.iter().find_map(|place| Some((place, place.get().filter(|pending| pending.fd == fd)?)))
    }
}

/// Whether its socket was closed without having been connected.
fn is_gone(pending: Option<Pending>) -> bool {
    pending.is_some_and(|pending| {
        // SAFETY: borrowed for one getsockopt(2) only, which fails where the number is not that of an open socket.
        let socket = unsafe { BorrowedFd::borrow_raw(pending.fd) };
        socket_cookie(socket) != Ok(pending.cookie)
    })
}

impl Pending {
    /// Binds the socket, which is about to connect to the `sockaddr` in these bytes.
    pub(crate) fn bind(&self, socket: BorrowedFd<'_>, destination: &[u8]) -> Result<(), Errno> {
        if socket_cookie(socket)? != self.cookie {
            return Ok(());
        }
        let destination = destination_ip(destination).ok_or(Errno::AFNOSUPPORT)?;
        if destination == self.source.ip().to_canonical() || is_local(destination)? {
            return Ok(());
        }
        apply::bind_to(socket, self.source)?;
        match self.linger {
            Some(seconds) if self.source.port() != 0 => apply::set_linger(socket, seconds),
            _ => Ok(()),
        }
    }
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
fn destination_ip(address: &[u8]) -> Option<IpAddr> {
    let sockaddr = address.get(..28).filter(|_| address.len() > 16).or(address.get(..16))?;
    let addresses = SourceAddresses::decode(sockaddr)?;
    let ipv4 = addresses.ipv4.map(|address| IpAddr::from(*address.ip()));
    Some(ipv4.or(addresses.ipv6.map(|address| IpAddr::from(*address.ip())))?.to_canonical())
}

fn is_local(destination: IpAddr) -> Result<bool, Errno> {
    let check = LOCAL_CHECK.load(Ordering::Acquire);
    if check.is_null() {
        return Ok(false);
    }
    // SAFETY: `set_local_check` stores nothing but such functions.
    let check = unsafe { std::mem::transmute::<*mut (), sys::LocalCheck>(check) };
    let call = |octets: &[u8]| -> c_int {
        // SAFETY: a pointer and the length of what it points to.
        unsafe { check(octets.as_ptr(), octets.len()) }
    };
    let answer = match destination {
        IpAddr::V4(ip) => call(&ip.octets()),
        IpAddr::V6(ip) => call(&ip.octets()),
    };
    match answer {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno::PERM),
    }
}
