//! Compression of bodies.

/// Most bytes of a decompressed body.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// What `STARTUP` asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Lz4,
    Snappy,
}

impl Compression {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "lz4" => Some(Self::Lz4),
            "snappy" => Some(Self::Snappy),
            _ => None,
        }
    }

    /// The decompressed body, if it is of the size it claims and within bounds.
    pub(crate) fn decompress(self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Lz4 => {
                let (length, block) = body.split_first_chunk()?;
                lz4(block, usize::try_from(u32::from_be_bytes(*length)).ok()?)
            }
            Self::Snappy => {
                if snap::raw::decompress_len(body).ok()? > MAX_BODY {
                    return None;
                }
                snap::raw::Decoder::new().decompress_vec(body).ok()
            }
        }
    }
}

/// A block of LZ4.
pub(crate) fn lz4(block: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > MAX_BODY {
        return None;
    }
    let body = lz4_flex::block::decompress(block, length).ok()?;
    (body.len() == length).then_some(body)
}
