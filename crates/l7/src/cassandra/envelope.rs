//! Envelopes: header and body of a message.

/// Length of a header.
pub(crate) const HEADER: usize = 9;

const COMPRESSED: u8 = 1;
const TRACING: u8 = 2;
const PAYLOAD: u8 = 4;
const WARNING: u8 = 8;

pub(crate) const ERROR: u8 = 0;
pub(crate) const STARTUP: u8 = 1;
pub(crate) const READY: u8 = 2;
pub(crate) const AUTHENTICATE: u8 = 3;
pub(crate) const QUERY: u8 = 7;
pub(crate) const RESULT: u8 = 8;
pub(crate) const PREPARE: u8 = 9;
pub(crate) const EXECUTE: u8 = 10;
pub(crate) const BATCH: u8 = 13;

/// A header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) reply: bool,
    pub(crate) version: u8,
    pub(crate) flags: u8,
    pub(crate) stream: [u8; 2],
    pub(crate) opcode: u8,
    /// Of the body.
    pub(crate) length: usize,
}

impl Header {
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let head = data.first_chunk::<HEADER>()?;
        Some(Self {
            reply: head[0] & 0x80 != 0,
            version: head[0] & 0x7f,
            flags: head[1],
            stream: [head[2], head[3]],
            opcode: head[4],
            length: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize,
        })
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }

    /// A reply to this request.
    pub(crate) fn error(&self, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap_or_default().to_be_bytes();
        let version = 0x80 | self.version.clamp(3, 5);
        [&[version, 0, self.stream[0], self.stream[1], ERROR], &length[..], body].concat()
    }

    /// Skips what flags put ahead of the body proper.
    pub(crate) fn skip_extras(&self, reader: &mut Reader<'_>) -> Option<()> {
        if self.reply && self.flags & TRACING != 0 {
            reader.take(16)?;
        }
        if self.reply && self.version >= 4 && self.flags & WARNING != 0 {
            for _ in 0..reader.short()? {
                reader.string()?;
            }
        }
        if self.version >= 4 && self.flags & PAYLOAD != 0 {
            for _ in 0..reader.short()? {
                reader.string()?;
                reader.value()?;
            }
        }
        Some(())
    }
}

/// Reads the protocol's notations.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn short(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn int(&mut self) -> Option<i32> {
        self.take(4).map(|bytes| i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn short_bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.take(length.into())
    }

    pub(crate) fn string(&mut self) -> Option<&'a str> {
        self.short_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    pub(crate) fn long_string(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.int()?).ok()?;
        self.take(length).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// A value; negative lengths are null and unset.
    pub(crate) fn value(&mut self) -> Option<&'a [u8]> {
        match usize::try_from(self.int()?) {
            Ok(length) => self.take(length),
            Err(_) => Some(&[]),
        }
    }
}
