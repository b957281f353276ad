//! Stream data to frames.

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

    /// Appends `data` as a binary frame, and a close frame at the end of the stream.
    pub(crate) fn data(&mut self, out: &mut Vec<u8>, data: &[u8], end_stream: bool) {
        if self.ended {
            return;
        }
        if !data.is_empty() {
            self.frame(out, Opcode::Binary, data);
        }
        if end_stream {
            self.frame(out, Opcode::Close, &[]);
            self.ended = true;
        }
    }

    /// Appends a ping or pong; tells whether it was written, which it is not after the close frame.
    pub(crate) fn control(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) -> bool {
        if !self.ended {
            self.frame(out, opcode, payload);
        }
        !self.ended
    }

    fn frame(&self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        let mask = self.masked.then(rand::random::<[u8; 4]>);
        out.reserve(payload.len() + 14);
        write_header(out, opcode, payload.len(), mask);
        let start = out.len();
        out.extend_from_slice(payload);
        if let Some(mask) = mask {
            apply_mask(&mut out[start..], mask, 0);
        }
    }
}
