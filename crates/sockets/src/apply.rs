//! What the private options do.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cilium_privileged::private_option::{LINGER, MARK, SOURCE_ADDRESS, SOURCE_ADDRESS_ON_CONNECT, TRANSPARENT};
use cilium_privileged::{SourceAddresses, sys};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_socket_reuseaddr, socket_domain};
use rustix::net::{AddressFamily, bind, getsockname};

use crate::on_connect;
use crate::real::SERVICE;

/// Whether this process was refused a privileged option: it has no capabilities, and will not get any.
static UNPRIVILEGED: AtomicBool = AtomicBool::new(false);

/// Applies the option with this name. `ENOPROTOOPT` when there is none, `EINVAL` when the value is not one of it.
pub(crate) fn apply(socket: BorrowedFd<'_>, name: i32, value: &[u8]) -> Result<(), Errno> {
    match name {
        SOURCE_ADDRESS => bind_source(socket, &SourceAddresses::decode(value).ok_or(Errno::INVAL)?),
        SOURCE_ADDRESS_ON_CONNECT => {
            let addresses = SourceAddresses::decode(value).ok_or(Errno::INVAL)?;
            match source_for(internet_family(socket)?, &addresses) {
                Some(source) => on_connect::remember(socket, source),
                None => Ok(()),
            }
        }
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
    source_for(internet_family(socket)?, addresses).map_or(Ok(()), |source| bind_to(socket, source))
}

fn source_for(family: AddressFamily, addresses: &SourceAddresses) -> Option<SocketAddr> {
    match family {
        AddressFamily::INET => addresses.ipv4.map(SocketAddr::V4),
        _ => addresses.ipv6.map(SocketAddr::V6),
    }
}

/// Makes the socket, which is of the address's family, transparent, and binds it.
pub(crate) fn bind_to(socket: BorrowedFd<'_>, source: SocketAddr) -> Result<(), Errno> {
    // An address of this host can be bound without: bind decides.
    let transparent = make_transparent(socket, internet_family(socket)?);
    set_socket_reuseaddr(socket, true)?;
    if source.port() == 0 {
        sys::set_bind_address_no_port(socket)?;
    }
    match (bind(socket, &source), transparent) {
        // The reason behind the reason.
        (Err(Errno::ADDRNOTAVAIL), Err(errno)) => Err(errno),
        (outcome, _) => outcome,
    }
}

fn linger(socket: BorrowedFd<'_>, seconds: u32) -> Result<(), Errno> {
    if on_connect::linger(socket, seconds) {
        return Ok(());
    }
    let address = SocketAddr::try_from(getsockname(socket)?)?;
    if address.port() == 0 { Ok(()) } else { set_linger(socket, seconds) }
}

pub(crate) fn set_linger(socket: BorrowedFd<'_>, seconds: u32) -> Result<(), Errno> {
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
