//! What a parser tells its driver to do.

/// An operation on the bytes of one direction. Sources: the reference's proxylib, whose numbering [`Op::code`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Keep all bytes; call again when this many more have come.
    More(usize),
    /// Forward this many bytes; may exceed what is there, then the rest is forwarded as it comes.
    Pass(usize),
    /// Discard this many bytes; may exceed what is there.
    Drop(usize),
    /// Forward this many bytes of the direction's injection buffer, ahead of the bytes that are left.
    Inject(usize),
    /// The bytes are not the protocol's; close the connection.
    Error(ErrorCode),
    /// Nothing to do until there are more bytes.
    Nop,
}

/// Why a parser gave up. The numbers are the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// No number: a parser error without a detail.
    Unspecified = 0,
    /// An operation of a wrong length.
    InvalidOpLength = 1,
    /// A message of a kind that cannot be here, or that is malformed.
    InvalidFrameType = 2,
    /// A message length out of range.
    InvalidFrameLength = 3,
}

impl Op {
    /// The reference's number of the operation, and its length; `None` for [`Op::Nop`], which is never handed on.
    #[must_use]
    pub fn code(self) -> Option<(u8, u64)> {
        match self {
            Self::More(n) => Some((0, n as u64)),
            Self::Pass(n) => Some((1, n as u64)),
            Self::Drop(n) => Some((2, n as u64)),
            Self::Inject(n) => Some((3, n as u64)),
            Self::Error(code) => Some((4, code as u64)),
            Self::Nop => None,
        }
    }

    /// The name in the reference's conformance data.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::More(_) => "MORE",
            Self::Pass(_) => "PASS",
            Self::Drop(_) => "DROP",
            Self::Inject(_) => "INJECT",
            Self::Error(_) => "ERROR",
            Self::Nop => "NOP",
        }
    }
}
