//! Segments of version 5: a header with a checksum, envelopes or a part of one, and a checksum.

use crate::cassandra::compress::lz4;

/// Most bytes of a payload.
const MAX_PAYLOAD: usize = (1 << 17) - 1;

/// A whole segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Decompressed.
    pub(crate) payload: Vec<u8>,
    /// It holds whole envelopes.
    pub(crate) self_contained: bool,
    /// Of all of it.
    pub(crate) length: usize,
}

/// Why there is no segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoSegment {
    /// This many bytes are missing at least.
    Missing(usize),
    Broken(&'static str),
}

fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x0087_5060, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 16, |crc, _| {
            let shifted = crc << 1;
            if shifted & 0x0100_0000 == 0 { shifted } else { shifted ^ 0x0197_4f0b }
        })
    })
}

fn crc32(payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[0xfa, 0x2d, 0x55, 0xca]);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads the first segment; `compressed` is whether LZ4 was agreed on.
pub(crate) fn read(data: &[u8], compressed: bool) -> Result<Segment, NoSegment> {
    let fields = if compressed { 5 } else { 3 };
    let Some((head, rest)) = data.split_at_checked(fields + 3) else {
        return Err(NoSegment::Missing(fields + 3 - data.len()));
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    if u64::from(crc24(&head[..fields])) != number(&head[fields..]) {
        return Err(NoSegment::Broken("a segment's header has another checksum"));
    }
    let bits = number(&head[..fields]);
    let part = |shift: u32| usize::try_from(bits >> shift & 0x1_ffff).unwrap_or(MAX_PAYLOAD);
    let (length, plain_length, self_contained) =
        if compressed { (part(0), part(17), bits >> 34 & 1 == 1) } else { (part(0), 0, bits >> 17 & 1 == 1) };
    let Some(body) = rest.get(..length + 4) else {
        return Err(NoSegment::Missing(length + 4 - rest.len()));
    };
    let (payload, checksum) = body.split_at(length);
    if u64::from(crc32(payload)) != number(checksum) {
        return Err(NoSegment::Broken("a segment's payload has another checksum"));
    }
    let payload = match plain_length {
        0 => payload.to_vec(),
        plain_length => lz4(payload, plain_length).ok_or(NoSegment::Broken("a segment that cannot be decompressed"))?,
    };
    Ok(Segment { payload, self_contained, length: fields + 3 + length + 4 })
}

/// A segment with whole envelopes, not compressed. `None` if they are too long for one.
pub(crate) fn write(payload: &[u8], compressed: bool) -> Option<Vec<u8>> {
    let length = u64::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD)?;
    let (bits, fields) = if compressed { (length | 1 << 34, 5) } else { (length | 1 << 17, 3) };
    let mut segment = bits.to_le_bytes()[..fields].to_vec();
    let checksum = crc24(&segment).to_le_bytes();
    segment.extend_from_slice(&checksum[..3]);
    segment.extend_from_slice(payload);
    segment.extend_from_slice(&crc32(payload).to_le_bytes());
    Some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for compressed in [false, true] {
            let segment = write(b"payload", compressed).unwrap();
            let read_back = read(&segment, compressed).unwrap();
            assert_eq!(
                (&read_back.payload[..], read_back.self_contained, read_back.length),
                (&b"payload"[..], true, segment.len())
            );
            for length in 0..segment.len() {
                assert!(matches!(read(&segment[..length], compressed), Err(NoSegment::Missing(1..))));
            }
            for bit in 0..segment.len() * 8 {
                let mut broken = segment.clone();
                broken[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&broken, compressed).is_err(), "bit {bit}");
            }
        }
        assert!(write(&vec![0; 1 << 17], false).is_none());
    }
}
