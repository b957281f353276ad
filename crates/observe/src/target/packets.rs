//! Another receiver's `SOCK_SEQPACKET` socket: one entry per packet.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendmmsg,
};

use crate::error::reason;
use crate::target::Outcome;

/// Between attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// That a receiver has to take an entry.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Packets per system call.
const PACKETS: usize = 64;

/// Connects when it can, again and again.
#[derive(Debug)]
pub(crate) struct Packets {
    path: PathBuf,
    socket: Option<OwnedFd>,
    /// No attempt to connect before this.
    not_before: Option<Instant>,
}

impl Packets {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, socket: None, not_before: None }
    }

    /// Sends what the receiver takes within a second per packet; the rest is lost. May block that long.
    pub(crate) fn write(&mut self, mut entries: &[&[u8]]) -> Outcome {
        let mut outcome = Outcome::default();
        // To a receiver that was restarted, too, which the first packet after that finds out.
        let mut again = true;
        while !entries.is_empty() {
            let socket = match self.connected() {
                Ok(socket) => socket,
                Err(error) => {
                    let (path, reason) = (self.path.display(), reason(&error));
                    return Outcome { error: Some(format!("nobody receives on {path}: {reason}")), ..outcome };
                }
            };
            match send(&socket, entries) {
                Ok(sent) => {
                    outcome.taken += sent;
                    entries = &entries[sent..];
                    self.socket = Some(socket);
                }
                Err(Errno::AGAIN) => {
                    self.socket = Some(socket);
                    break;
                }
                Err(Errno::INTR) => self.socket = Some(socket),
                Err(_) if again => again = false,
                Err(_) => break,
            }
        }
        outcome
    }

    fn connected(&mut self) -> io::Result<OwnedFd> {
        if let Some(socket) = self.socket.take() {
            return Ok(socket);
        }
        if self.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return Err(Errno::CONNREFUSED.into());
        }
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(SEND_TIMEOUT))?;
        let connected = SocketAddrUnix::new(&self.path).and_then(|address| rustix::net::connect(&socket, &address));
        self.not_before = connected.is_err().then(|| Instant::now() + RETRY);
        connected?;
        Ok(socket)
    }
}

/// How many were sent, at least one.
fn send(socket: &OwnedFd, entries: &[&[u8]]) -> Result<usize, Errno> {
    let packets: Vec<[IoSlice<'_>; 1]> = entries.iter().take(PACKETS).map(|entry| [IoSlice::new(entry)]).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = Vec::new();
    controls.resize_with(packets.len(), SendAncillaryBuffer::default);
    let mut messages: Vec<MMsgHdr<'_>> =
        packets.iter().zip(&mut controls).map(|(packet, control)| MMsgHdr::new(packet, control)).collect();
    sendmmsg(socket, &mut messages, SendFlags::NOSIGNAL | SendFlags::EOR)
}
