//! Decoding with bounds.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::Decodable;
use kafka_protocol::protocol::buf::ByteBuf;

/// Longer byte strings are skipped: names are at most this long, and nothing else is looked at.
const MAX_STRING: usize = 32_767;
/// Reads of a message, of which every element needs some: elements take up more memory decoded than encoded.
const MAX_READS: usize = 1 << 21;

/// A buffer in which no array can claim more elements than there are bytes: the decoder allocates for all elements at once.
///
/// Newer versions count elements in variable-length integers. What is a single byte cannot be told from these, so every byte is
/// checked as if one started there; one that is smaller than what remains has no part that is not. Older versions count elements in
/// 32-bit integers, which look like any other; so there the first of two passes caps all of them, and fails if that was a count.
struct Bounded<'a> {
    rest: &'a [u8],
    /// Cap 32-bit integers.
    cap: bool,
    /// Reads that are left.
    reads: usize,
}

impl<'a> Bounded<'a> {
    fn new(rest: &'a [u8], cap: bool) -> Self {
        Self { rest, cap, reads: MAX_READS }
    }

    fn short(&self, requested: usize) -> TryGetError {
        TryGetError { requested, available: self.rest.len() }
    }

    /// The variable-length integer that starts here.
    fn peek_varint(&self) -> usize {
        let bytes = self.rest.iter().take(5).enumerate();
        let mut value = 0;
        for (index, byte) in bytes {
            value |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
}

impl Buf for Bounded<'_> {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        self.rest
    }

    fn advance(&mut self, count: usize) {
        self.reads = self.reads.saturating_sub(1);
        self.rest = if self.reads == 0 { &[] } else { self.rest.get(count..).unwrap_or_default() };
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let Some(byte) = self.rest.first() else { return Err(self.short(1)) };
        if byte & 0x80 != 0 {
            let value = self.peek_varint();
            if value > self.rest.len() {
                return Err(self.short(value));
            }
        }
        self.advance(1);
        Ok(*byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let Some(head) = self.rest.first_chunk() else { return Err(self.short(4)) };
        self.advance(4);
        let value = i32::from_be_bytes(*head);
        let most = i32::try_from(self.rest.len() + 1).unwrap_or(i32::MAX);
        Ok(if self.cap { value.min(most) } else { value })
    }
}

impl ByteBuf for Bounded<'_> {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.rest.get(range).map(Bytes::copy_from_slice).unwrap_or_default()
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        let bytes = self.rest.get(..size).unwrap_or(self.rest);
        self.advance(size);
        if size > MAX_STRING { Bytes::new() } else { Bytes::copy_from_slice(bytes) }
    }
}

/// Decodes a message that takes up all of the bytes.
pub(crate) fn decode<T: Decodable>(body: &[u8], version: i16) -> Option<T> {
    for cap in [true, false] {
        let mut buffer = Bounded::new(body, cap);
        let message = T::decode(&mut buffer, version).ok()?;
        if !buffer.rest.is_empty() || buffer.reads == 0 {
            return None;
        }
        if !cap {
            return Some(message);
        }
    }
    None
}

/// Decodes what is at the start of the bytes; returns the rest too.
pub(crate) fn decode_start<T: Decodable>(body: &[u8], version: i16) -> Option<(T, &[u8])> {
    let mut buffer = Bounded::new(body, false);
    let message = T::decode(&mut buffer, version).ok()?;
    Some((message, buffer.rest))
}
