//! A stream of entries, each behind its length as a protobuf varint.

/// Largest entry taken, in bytes, in a stream or as a packet.
pub(crate) const MAX_ENTRY: usize = 64 << 10;

/// Bytes that a varint has at most.
const VARINT: usize = 10;

/// A stream cannot be read on: what stands in the place of a length is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it sent no length of an entry, which has up to {MAX_ENTRY} bytes, where one had to be")]
pub(crate) struct InvalidLength;

/// Takes whole entries from the front of `bytes`; what is left is the beginning of the next one.
///
/// Ends at a length that is none, too; then `invalid` says so.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    invalid: bool,
}

impl<'a> Frames<'a> {
    /// The entries in the bytes of a stream, from where an entry begins.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, invalid: false }
    }

    /// The bytes behind the last whole entry.
    pub(crate) fn rest(&self) -> Result<&'a [u8], InvalidLength> {
        if self.invalid { Err(InvalidLength) } else { Ok(self.bytes) }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.invalid {
            return None;
        }
        let mut body = self.bytes;
        let Ok(len) = length(&mut body) else {
            self.invalid = true;
            return None;
        };
        let len = len?;
        let (entry, rest) = body.split_at_checked(len)?;
        self.bytes = rest;
        Some(entry)
    }
}

/// Takes a length; None when it is not whole yet.
fn length(bytes: &mut &[u8]) -> Result<Option<usize>, InvalidLength> {
    if !bytes.iter().take(VARINT).any(|byte| *byte < 0x80) && bytes.len() < VARINT {
        return Ok(None);
    }
    let len = prost::encoding::decode_varint(bytes).map_err(|_| InvalidLength)?;
    usize::try_from(len).ok().filter(|len| *len <= MAX_ENTRY).map(Some).ok_or(InvalidLength)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            prost::encoding::encode_varint(entry.len() as u64, &mut bytes);
            bytes.extend_from_slice(entry);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<&[u8]>, Result<&[u8], InvalidLength>) {
        let mut frames = Frames::new(bytes);
        let entries = frames.by_ref().collect();
        (entries, frames.rest())
    }

    proptest! {
        #[test]
        fn entries_come_out_whole_wherever_the_stream_is_cut(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let stream = framed(&entries);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let (mut held, mut taken) = (Vec::new(), Vec::new());
            for cut in cuts.windows(2) {
                held.extend_from_slice(&stream[cut[0]..cut[1]]);
                let (whole, rest) = read(&held);
                taken.extend(whole.into_iter().map(<[u8]>::to_vec));
                held = rest.unwrap().to_vec();
            }
            prop_assert_eq!(taken, entries);
            prop_assert!(held.is_empty());
        }

        #[test]
        fn any_bytes_are_entries_and_a_rest_smaller_than_one(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            if let (_, Ok(rest)) = read(&bytes) {
                prop_assert!(rest.len() < MAX_ENTRY + VARINT);
            }
        }
    }

    #[test]
    fn an_entry_has_up_to_the_limit() {
        let largest = vec![7; MAX_ENTRY];
        assert_eq!(read(&framed(std::slice::from_ref(&largest))), (vec![&*largest], Ok(&[][..])));
        // The length is enough to see that.
        assert_eq!(read(&[0x81, 0x80, 0x04]), (vec![], Err(InvalidLength)));
    }

    #[test]
    fn what_is_no_length_ends_the_stream_behind_whole_entries() {
        let mut bytes = framed(&[b"a".to_vec()]);
        bytes.extend_from_slice(&[0xff; 10]);
        assert_eq!(read(&bytes), (vec![&b"a"[..]], Err(InvalidLength)));
        assert_eq!(read(&[0xff; 9]), (vec![], Ok(&[0xff; 9][..])));
    }
}
