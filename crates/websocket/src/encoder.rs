//! Stream data to frames.

use std::iter;

use crate::config::Role;
use crate::frame::{Opcode, apply_mask, write_header};

/// Writes frames for one direction. Each call makes one unfragmented frame.
pub(crate) struct Encoder {
    /// The client side masks its frames (RFC 6455, section 5.3: with keys from a strong source).
    masked: bool,
    ended: bool,
}

impl Encoder {
    pub(crate) fn new(role: Role) -> Self {
        Self { masked: role == Role::Client, ended: false }
    }

    /// Whether the close frame has been written; nothing follows it.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Appends the pieces as one binary frame, and a close frame at the end of the stream.
    pub(crate) fn data<'d, P>(&mut self, out: &mut Vec<u8>, pieces: P, end_stream: bool)
    where
        P: Iterator<Item = &'d [u8]> + Clone,
    {
        if self.ended {
            return;
        }
        if pieces.clone().any(|piece| !piece.is_empty()) {
            self.frame(out, Opcode::Binary, pieces);
        }
        if end_stream {
            self.frame(out, Opcode::Close, iter::empty());
            self.ended = true;
        }
    }

    /// Header of the frame of that many bytes, and the close frame at the end of the stream; `None` where frames are
    /// masked, or none may follow.
    pub(crate) fn surround(&mut self, length: usize, end_stream: bool) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.masked || self.ended {
            return None;
        }
        let (mut before, mut after) = (Vec::new(), Vec::new());
        if length > 0 {
            write_header(&mut before, Opcode::Binary, length, None);
        }
        self.data(&mut after, iter::empty(), end_stream);
        Some((before, after))
    }

    /// Appends a ping or pong; tells whether it was written, which it is not after the close frame.
    pub(crate) fn control(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) -> bool {
        if !self.ended {
            self.frame(out, opcode, iter::once(payload));
        }
        !self.ended
    }

    fn frame<'d, P>(&self, out: &mut Vec<u8>, opcode: Opcode, payload: P)
    where
        P: Iterator<Item = &'d [u8]> + Clone,
    {
        let mask = self.masked.then(rand::random::<[u8; 4]>);
        let length = payload.clone().map(<[u8]>::len).sum();
        out.reserve(length + 14);
        write_header(out, opcode, length, mask);
        let start = out.len();
        payload.for_each(|piece| out.extend_from_slice(piece));
        if let Some(mask) = mask {
            apply_mask(&mut out[start..], mask, 0);
        }
    }
}
