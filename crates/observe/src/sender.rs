//! One connection to Envoy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::frames::{Frames, InvalidLength, MAX_ENTRY};
use crate::listener::Transport;
use crate::receiver::Outlet;

/// Packets taken from one sender before others get their turn.
const PACKETS: usize = 64;

/// Bytes read from a stream before others get their turn.
const READ: usize = 256 << 10;

/// Room for what a sender has at its turn: a packet, or the rest of the last turn and what is read.
pub(crate) const BUFFER: usize = MAX_ENTRY + 16 + READ;

/// What a turn brought.
pub(crate) enum Turn {
    /// Something; there may be more.
    Taken,
    /// Nothing, for now.
    Idle,
    /// The sender is gone.
    Ended,
    /// It sends what cannot be read.
    Invalid(InvalidLength),
}

#[derive(Debug)]
pub(crate) struct Sender {
    socket: OwnedFd,
    transport: Transport,
    /// Of a stream: the beginning of an entry whose end has not come yet.
    rest: Vec<u8>,
}

impl Sender {
    pub(crate) fn new(socket: OwnedFd, transport: Transport) -> Self {
        Self { socket, transport, rest: Vec::new() }
    }

    /// Takes what has arrived, up to a limit, and puts it into the outlet. `buffer` has [`BUFFER`] bytes.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], outlet: &Outlet) -> Turn {
        match self.transport {
            Transport::Packets => self.packets(buffer, outlet),
            Transport::Stream => self.stream(buffer, outlet),
        }
    }

    fn packets(&self, buffer: &mut [u8], outlet: &Outlet) -> Turn {
        let buffer = &mut buffer[..MAX_ENTRY];
        for taken in 0..PACKETS {
            // The true length, so that a packet that was cut is told from one that is as long as the buffer.
            let len = match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::TRUNC) {
                Ok((_, len)) => len,
                Err(Errno::AGAIN | Errno::INTR) if taken == 0 => return Turn::Idle,
                Err(Errno::AGAIN | Errno::INTR) => return Turn::Taken,
                Err(_) => 0,
            };
            match buffer.get(..len) {
                Some([]) => return Turn::Ended,
                Some(entry) => outlet.put(std::iter::once(entry)),
                None => {
                    outlet.counts.received.add(1);
                    outlet.counts.truncated.add(1);
                }
            }
        }
        Turn::Taken
    }

    fn stream(&mut self, buffer: &mut [u8], outlet: &Outlet) -> Turn {
        let held = self.rest.len();
        buffer[..held].copy_from_slice(&self.rest);
        let len = match rustix::net::recv(&self.socket, &mut buffer[held..], RecvFlags::empty()) {
            Ok((_, len)) => len,
            Err(Errno::AGAIN | Errno::INTR) => return Turn::Idle,
            Err(_) => 0,
        };
        if len == 0 {
            return Turn::Ended;
        }
        let mut frames = Frames::new(&buffer[..held + len]);
        outlet.put(&mut frames);
        match frames.rest() {
            Ok(rest) => {
                self.rest.clear();
                self.rest.extend_from_slice(rest);
                Turn::Taken
            }
            Err(invalid) => Turn::Invalid(invalid),
        }
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
