//! One connection to the service, on both sides: a packet and at most one descriptor at a time. Nothing allocates.

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{Errno, IoSlice, IoSliceMut, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// How long a client waits for the service. It answers in microseconds; a client that waits this long has a stopped
/// supervisor, and its request fails.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection: the service's end, then the client's.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (service, client) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&client, Timeout::Recv, Some(PATIENCE))?;
    set_socket_timeout(&client, Timeout::Send, Some(PATIENCE))?;
    Ok((service, client))
}

/// Sends one packet.
pub(crate) fn send(connection: BorrowedFd<'_>, packet: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds
        && !control.push(SendAncillaryMessage::ScmRights(fds))
    {
        return Err(Errno::INVAL);
    }
    retry_on_intr(|| sendmsg(connection, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)).map(drop)
}

/// Receives one packet: its length, 0 at the end of the connection, and the descriptor that came with it. Further
/// descriptors are closed. `EMSGSIZE` when the packet is longer than the buffer.
pub(crate) fn receive(connection: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message =
        retry_on_intr(|| recvmsg(connection, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let mut first = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = part {
            for fd in fds {
                first.get_or_insert(fd);
            }
        }
    }
    if message.flags.contains(ReturnFlags::TRUNC) { Err(Errno::MSGSIZE) } else { Ok((message.bytes, first)) }
}
