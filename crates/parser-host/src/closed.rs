//! Why a connection is closed.

use std::fmt;

use cilium_embed_abi::FailureKind;

/// The connection must be closed, in both directions, and nothing more forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Whose fault it is.
    pub cause: Cause,
    /// One sentence.
    pub reason: String,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The bytes are not the protocol's.
    Protocol,
    /// The parser cannot be had.
    Refused,
    /// The parser raised an exception or returned what cannot be.
    Failed,
    /// A call took too long, or waits behind one that does not return.
    Time,
    /// More waits than may.
    Overflow,
}

impl Closed {
    pub(crate) fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into() }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<FailureKind> for Cause {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Raised | FailureKind::Nonsense | FailureKind::Memory => Self::Failed,
            FailureKind::Interrupted => Self::Time,
        }
    }
}
