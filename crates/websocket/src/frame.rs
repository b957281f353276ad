//! Frame headers and masking (RFC 6455, section 5.2).

use crate::error::Error;

/// Longest payload of a control frame that is accepted. The RFC allows 125; the reference's peers may send up to this.
pub(crate) const CONTROL_PAYLOAD_LIMIT: u64 = 256;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, Error> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(Error::InvalidFrame),
        })
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A decoded frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) opcode: Opcode,
    pub(crate) payload: u64,
    pub(crate) mask: Option<[u8; 4]>,
    /// Length of the header itself.
    pub(crate) length: usize,
}

impl Header {
    /// Reads a header from the front of `data`; `None` while it is incomplete.
    pub(crate) fn parse(data: &[u8]) -> Result<Option<Self>, Error> {
        let &[first, second, ..] = data else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0f)?;
        if first & RESERVED != 0 || (opcode.is_control() && first & FIN == 0) {
            return Err(Error::InvalidFrame);
        }
        let (payload, mut length) = match second & !MASKED {
            126 => match data.get(2..4).and_then(|bytes| bytes.try_into().ok()) {
                Some(bytes) => (u64::from(u16::from_be_bytes(bytes)), 4),
                None => return Ok(None),
            },
            127 => match data.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
                Some(bytes) => (u64::from_be_bytes(bytes), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        // The RFC keeps the top bit of 64-bit lengths clear.
        if payload >> 63 != 0 || (opcode.is_control() && payload > CONTROL_PAYLOAD_LIMIT) {
            return Err(Error::InvalidFrame);
        }
        let mask = if second & MASKED == 0 {
            None
        } else {
            let Some(bytes) = data.get(length..length + 4).and_then(|bytes| bytes.try_into().ok()) else {
                return Ok(None);
            };
            length += 4;
            Some(bytes)
        };
        Ok(Some(Self { opcode, payload, mask, length }))
    }

    /// Whether the frame is one that carries no stream data.
    pub(crate) fn is_control(&self) -> bool {
        self.opcode.is_control()
    }
}

/// Appends the header of an unfragmented frame.
pub(crate) fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload: usize, mask: Option<[u8; 4]>) {
    out.push(FIN | opcode as u8);
    let masked = if mask.is_some() { MASKED } else { 0 };
    match payload {
        #[expect(clippy::cast_possible_truncation, reason = "below 126")]
        0..126 => out.push(masked | payload as u8),
        126..0x1_0000 => {
            out.push(masked | 0x7e);
            #[expect(clippy::cast_possible_truncation, reason = "below 65,536")]
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 0x7f);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
    }
}

/// Applies a mask in place, `offset` bytes into the payload. Masking twice restores the data.
pub(crate) fn apply_mask(data: &mut [u8], mask: [u8; 4], offset: u64) {
    let mut rotated = mask;
    rotated.rotate_left((offset % 4) as usize);
    let wide = u64::from(u32::from_ne_bytes(rotated));
    let wide = wide | wide << 32;
    let mut chunks = data.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(rotated.iter().cycle()) {
        *byte ^= key;
    }
}
