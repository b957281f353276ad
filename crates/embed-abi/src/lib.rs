//! The border between the proxy and the library that embeds Python: a C table of functions, wrapped for safe code on both sides.
//!
//! Two libraries that were linked apart share no Rust types, so what crosses is pointers, lengths and numbers (`raw`). The
//! library implements [`Guest`] and hands out [`table`]; the proxy opens it as a [`Library`]. Nothing here knows Python, Envoy
//! or policies. `unsafe` lives here; a panic on either side does not cross.
//!
//! One thread makes all calls of a guest but [`Library::interrupt`]; during [`Parser::on_data`] the guest calls back on it.

mod guest;
mod host;
mod raw;

pub use guest::{Guest, decide, inject, log, table};
pub use host::{Calls, Class, Library, OpenError, Parser, Rule};
pub use raw::Table;

/// What the guest starts with.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Path of the Python program whose installation is used.
    pub program: &'a str,
    /// Directory that has the package `cilium_proxy`.
    pub package: &'a str,
    /// Where parsers are looked for, in order.
    pub directories: &'a [&'a str],
    /// Bytes that all parsers together may allocate; 0: no limit.
    pub memory: u64,
}

/// A connection, as its parser sees it.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "as in cilium_l7::ConnectionInfo")]
pub struct Info<'a> {
    pub ingress: bool,
    pub source_id: u32,
    pub destination_id: u32,
    pub source_address: &'a str,
    pub destination_address: &'a str,
    pub policy_name: &'a str,
    pub port: u16,
}

/// What a parser says to bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Keep all bytes; call again when this many more have come.
    More(usize),
    /// Forward this many bytes.
    Pass(usize),
    /// Discard this many bytes.
    Drop(usize),
    /// Forward this many of the injected bytes.
    Inject(usize),
    /// The bytes are not the protocol's, for this reason.
    Error(String),
    /// The parser failed.
    Failed(Failure),
}

/// What went wrong in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of it.
    pub kind: FailureKind,
    /// One sentence.
    pub reason: String,
    /// Where, line by line; may be empty.
    pub traceback: String,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FailureKind {
    /// An exception.
    Raised,
    /// A result that cannot be.
    Nonsense,
    /// [`Library::interrupt`] ended it.
    Interrupted,
    /// The memory limit was reached.
    Memory,
}

/// What an access log entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in cilium_l7::EntryType")]
#[repr(u32)]
pub enum Kind {
    Request,
    Response,
    Denied,
}

impl Failure {
    /// A failure without a place.
    #[must_use]
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), traceback: String::new() }
    }
}

#[cfg(test)]
mod tests;
