//! How entries go over a socket: a packet each, as the Cilium agent takes them, or many in one write.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendmmsg,
};

use crate::stats::Dropped;
use crate::trim::MAX_PACKET;
use crate::wire;

/// What a path begins with whose receiver takes a stream.
const STREAM: &[u8] = b"stream:";

/// Largest entry in a stream, in bytes.
const MAX_STREAMED: usize = 64 << 10;

/// Packets per system call.
const PACKETS: usize = 64;

/// Bytes per write, roughly.
const WRITE: usize = 256 << 10;

/// Send buffer asked for, in bytes. The system's default has room for some 90 packets of a kilobyte, which a busy worker
/// makes in a few milliseconds: less than a receiver may be kept from running.
const SEND_BUFFER: usize = 1 << 20;

const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Why nothing was sent.
pub(crate) enum SendError {
    /// The receiver closed the connection.
    Gone,
    /// The receiver is there, the entry is not.
    Dropped(Dropped),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// `SOCK_SEQPACKET`, one entry per packet.
    Packets,
    /// `SOCK_STREAM`, every entry behind its length as a varint.
    Stream,
}

/// A connection to the receiver.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    transport: Transport,
    /// Of a stream: framed entries, from the first byte that is not written.
    unwritten: Vec<u8>,
}

impl Transport {
    /// The transport that a path asks for, and the path of the socket.
    pub(crate) fn of(path: &Path) -> (Self, &Path) {
        match path.as_os_str().as_bytes().strip_prefix(STREAM) {
            Some(rest) => (Self::Stream, Path::new(std::ffi::OsStr::from_bytes(rest))),
            None => (Self::Packets, path),
        }
    }

    /// Bytes that an entry may have.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Packets => MAX_PACKET,
            Self::Stream => MAX_STREAMED,
        }
    }
}

impl Connection {
    /// Connects, without waiting; "@name" is the abstract socket "name".
    pub(crate) fn open(path: &Path, transport: Transport) -> Result<Self, Errno> {
        let address = match path.as_os_str().as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            _ => SocketAddrUnix::new(path)?,
        };
        let kind = match transport {
            Transport::Packets => SocketType::SEQPACKET,
            Transport::Stream => SocketType::STREAM,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
        // What the system allows of it; with less more is dropped, and counted.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
        rustix::net::connect(&socket, &address)?;
        Ok(Self { socket, transport, unwritten: Vec::new() })
    }

    /// Sends the first entries, none larger than the transport's limit; how many, at least one.
    pub(crate) fn send<'b>(&mut self, entries: impl Iterator<Item = &'b [u8]>) -> Result<usize, SendError> {
        match self.transport {
            Transport::Packets => self.send_packets(entries),
            Transport::Stream => self.write(entries),
        }
    }

    fn send_packets<'b>(&self, entries: impl Iterator<Item = &'b [u8]>) -> Result<usize, SendError> {
        let packets: Vec<[IoSlice<'_>; 1]> = entries.take(PACKETS).map(|entry| [IoSlice::new(entry)]).collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = Vec::new();
        controls.resize_with(packets.len(), SendAncillaryBuffer::default);
        let mut messages: Vec<MMsgHdr<'_>> =
            packets.iter().zip(&mut controls).map(|(packet, control)| MMsgHdr::new(packet, control)).collect();
        sendmmsg(self.socket.as_fd(), &mut messages, FLAGS | SendFlags::EOR).map_err(refused)
    }

    fn write<'b>(&mut self, entries: impl Iterator<Item = &'b [u8]>) -> Result<usize, SendError> {
        self.flush()?;
        let mut count = 0;
        for entry in entries {
            wire::varint(&mut self.unwritten, entry.len() as u64);
            self.unwritten.extend_from_slice(entry);
            count += 1;
            if self.unwritten.len() >= WRITE {
                break;
            }
        }
        match self.flush() {
            // What is framed goes out before anything else.
            Ok(()) | Err(SendError::Dropped(Dropped::Full)) => Ok(count),
            Err(error) => Err(error),
        }
    }

    /// Writes what is left of earlier entries.
    fn flush(&mut self) -> Result<(), SendError> {
        let mut written = 0;
        let result = loop {
            if written == self.unwritten.len() {
                break Ok(());
            }
            match rustix::net::send(&self.socket, &self.unwritten[written..], FLAGS) {
                Ok(count) => written += count,
                Err(error) => break Err(refused(error)),
            }
        };
        self.unwritten.drain(..written);
        result
    }
}

fn refused(error: Errno) -> SendError {
    match error {
        Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => SendError::Dropped(Dropped::Full),
        Errno::MSGSIZE => SendError::Dropped(Dropped::Oversized),
        _ => SendError::Gone,
    }
}
