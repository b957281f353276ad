//! Frames to stream data.

use crate::error::Error;
use crate::frame::{Header, Opcode, apply_mask};

/// Reads the frames of one direction, in whatever pieces they arrive.
///
/// Holds at most one incomplete header or control frame (270 bytes); data frames pass through as they come.
#[derive(Default)]
pub(crate) struct Decoder {
    /// Front of an incomplete header or control frame.
    partial: Vec<u8>,
    /// Rest of the data frame that is passing through.
    remaining: u64,
    mask: Option<[u8; 4]>,
    offset: u64,
    ended: bool,
}

impl Decoder {
    /// Whether the close frame or the end of the stream has been seen.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Appends the payload of data frames to `out` and that of pings, in order, to `pings`. Tells whether the stream
    /// ended within a frame.
    ///
    /// What follows a close frame is dropped.
    pub(crate) fn decode(
        &mut self,
        data: &[u8],
        end_stream: bool,
        out: &mut Vec<u8>,
        pings: &mut Vec<Vec<u8>>,
    ) -> Result<bool, Error> {
        let joined;
        let mut data = if self.partial.is_empty() {
            data
        } else {
            self.partial.extend_from_slice(data);
            joined = std::mem::take(&mut self.partial);
            joined.as_slice()
        };
        while !data.is_empty() && !self.ended {
            if self.remaining > 0 {
                data = self.pass(data, out);
                continue;
            }
            let Some(header) = Header::parse(data)? else { break };
            if !header.is_control() {
                (self.remaining, self.mask, self.offset) = (header.payload, header.mask, 0);
                data = &data[header.length..];
                continue;
            }
            let Some((payload, rest)) = control_payload(data, &header) else { break };
            data = rest;
            match header.opcode {
                Opcode::Close => self.ended = true,
                Opcode::Ping => pings.push(payload),
                _ => {}
            }
        }
        if self.ended {
            return Ok(false);
        }
        self.partial.extend_from_slice(data);
        self.ended = end_stream;
        Ok(end_stream && (self.remaining > 0 || !self.partial.is_empty()))
    }

    fn pass<'d>(&mut self, data: &'d [u8], out: &mut Vec<u8>) -> &'d [u8] {
        let length = usize::try_from(self.remaining).map_or(data.len(), |remaining| remaining.min(data.len()));
        let (now, rest) = data.split_at(length);
        let start = out.len();
        out.extend_from_slice(now);
        if let Some(mask) = self.mask {
            apply_mask(&mut out[start..], mask, self.offset);
        }
        self.offset += now.len() as u64;
        self.remaining -= now.len() as u64;
        rest
    }
}

fn control_payload<'d>(data: &'d [u8], header: &Header) -> Option<(Vec<u8>, &'d [u8])> {
    let end = header.length + usize::try_from(header.payload).ok()?;
    let mut payload = data.get(header.length..end)?.to_vec();
    if let Some(mask) = header.mask {
        apply_mask(&mut payload, mask, 0);
    }
    Some((payload, &data[end..]))
}
