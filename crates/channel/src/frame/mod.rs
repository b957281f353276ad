//! Frames: a 4-byte big-endian length, then that many bytes of `Frame`.

use std::io::{self, Read};

use cilium_proto::cilium_proxy::v1::{Frame, frame::Kind};
use prost::Message;

/// Bounds on what the control plane may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in one frame; a frame holds one resource at most. More ends the connection.
    pub frame: usize,
    /// Upserts and removals in one transaction. More rejects the transaction.
    pub count: u64,
    /// Bytes of names and resources in one transaction. More rejects the transaction.
    pub bytes: usize,
}

impl Default for Limits {
    /// 64 MiB a frame, a million changes and 1 GiB a transaction.
    fn default() -> Self {
        Self { frame: 64 << 20, count: 1_000_000, bytes: 1 << 30 }
    }
}

/// Why the bytes received are no frames. The connection cannot go on after that.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the control plane sent a frame of {len} bytes, allowed are {limit}")]
    TooLong { len: usize, limit: usize },
    #[error("the control plane sent a frame that does not parse: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("the control plane sent a frame of a kind that protocol 1 does not have")]
    UnknownKind,
}

/// Bytes to ask the socket for at once.
const READ: usize = 256 << 10;
const PREFIX: usize = 4;

/// Received bytes that are not yet frames.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    /// Taken already.
    start: usize,
    limit: usize,
}

impl FrameBuffer {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, limit }
    }

    /// Reads once from `source`; 0 is the end of the stream.
    pub(crate) fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let filled = self.bytes.len();
        // What a large frame takes is requested as it arrives: its length is only a claim until then.
        self.bytes.resize(filled + READ, 0);
        let read = source.read(&mut self.bytes[filled..]);
        self.bytes.truncate(filled + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Takes the next frame, if all of it has arrived.
    pub(crate) fn take(&mut self) -> Result<Option<Kind>, FrameError> {
        let rest = &self.bytes[self.start..];
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > self.limit {
            return Err(FrameError::TooLong { len, limit: self.limit });
        }
        let Some(body) = rest.get(..len) else { return Ok(None) };
        let frame = Frame::decode(body)?;
        self.start += PREFIX + len;
        frame.kind.map(Some).ok_or(FrameError::UnknownKind)
    }
}

/// `kind` as it goes over the wire.
pub(crate) fn encode(kind: Kind) -> Vec<u8> {
    let frame = Frame { kind: Some(kind) };
    // The module sends hellos and results only, which are far from 4 GiB.
    let len = u32::try_from(frame.encoded_len()).unwrap_or(u32::MAX);
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend_from_slice(&frame.encode_to_vec());
    bytes
}

#[cfg(test)]
mod tests;
