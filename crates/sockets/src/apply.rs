//! What the private options do.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cilium_privileged::private_option::{LINGER, MARK, SOURCE_ADDRESS, TRANSPARENT};
use cilium_privileged::{SourceAddresses, sys};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_socket_reuseaddr, socket_domain};
use rustix::net::{AddressFamily, bind, getsockname};

use crate::real::SERVICE;

/// Whether this process was refused a privileged option: it has no capabilities, and will not get any.
static UNPRIVILEGED: AtomicBool = AtomicBool::new(false);

/// Applies the option with this name. `ENOPROTOOPT` when there is none, `EINVAL` when the value is not one of it.
pub(crate) fn apply(socket: BorrowedFd<'_>, name: i32, value: &[u8]) -> Result<(), Errno> {
    match name {
        SOURCE_ADDRESS => bind_source(socket, &SourceAddresses::decode(value).ok_or(Errno::INVAL)?),
        MARK => {
            let mark = number(value)?;
            privileged(|| sys::set_mark(socket, mark), || SERVICE.set_mark(socket, mark))
        }
        LINGER => linger(socket, number(value)?),
        TRANSPARENT => match number(value)? {
            0 => Err(Errno::INVAL),
            _ => make_transparent(socket, internet_family(socket)?),
        },
        _ => Err(Errno::NOPROTOOPT),
    }
}

fn bind_source(socket: BorrowedFd<'_>, addresses: &SourceAddresses) -> Result<(), Errno> {
    let family = internet_family(socket)?;
    let address = match family {
        AddressFamily::INET => addresses.ipv4.map(SocketAddr::V4),
        _ => addresses.ipv6.map(SocketAddr::V6),
    };
    let Some(address) = address else { return Ok(()) };
    // An address of this host can be bound without: bind decides.
    let transparent = make_transparent(socket, family);
    set_socket_reuseaddr(socket, true)?;
    if address.port() == 0 {
        sys::set_bind_address_no_port(socket)?;
    }
    match (bind(socket, &address), transparent) {
        // The reason behind the reason.
        (Err(Errno::ADDRNOTAVAIL), Err(errno)) => Err(errno),
        (outcome, _) => outcome,
    }
}

fn linger(socket: BorrowedFd<'_>, seconds: u32) -> Result<(), Errno> {
    let address = SocketAddr::try_from(getsockname(socket)?)?;
    if address.port() == 0 {
        return Ok(());
    }
    set_socket_linger(socket, Some(Duration::from_secs(seconds.into())))
}

fn make_transparent(socket: BorrowedFd<'_>, family: AddressFamily) -> Result<(), Errno> {
    let direct = || match family {
        AddressFamily::INET => sys::set_ip_transparent(socket),
        _ => sys::set_ipv6_transparent(socket),
    };
    privileged(direct, || SERVICE.set_transparent(socket))
}

/// Does what may need privileges: here, or where that is refused, through the service.
fn privileged(
    direct: impl FnOnce() -> Result<(), Errno>,
    by_service: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    if !UNPRIVILEGED.load(Ordering::Relaxed) {
        let outcome = direct();
        if outcome != Err(Errno::PERM) {
            return outcome;
        }
        UNPRIVILEGED.store(true, Ordering::Relaxed);
    }
    by_service()
}

fn internet_family(socket: BorrowedFd<'_>) -> Result<AddressFamily, Errno> {
    match socket_domain(socket)? {
        family @ (AddressFamily::INET | AddressFamily::INET6) => Ok(family),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

fn number(value: &[u8]) -> Result<u32, Errno> {
    value.try_into().map(u32::from_ne_bytes).map_err(|_| Errno::INVAL)
}
