//! Protocols made up to test drivers.

mod blocks;
mod headers;
mod lines;
mod panics;
mod passer;

pub(crate) use blocks::Blocks;
pub(crate) use headers::{HeaderRule, Headers};
pub(crate) use lines::Lines;
pub(crate) use panics::Panics;
pub(crate) use passer::Passer;

/// Passes everything.
pub const PASSER: &str = "test.passer";
/// Lines that say what becomes of them.
pub const LINE: &str = "test.lineparser";
/// Blocks with a length that say what becomes of them.
pub const BLOCK: &str = "test.blockparser";
/// Lines that a policy decides on.
pub const HEADER: &str = "test.headerparser";
/// Panics on requests.
pub const PANIC: &str = "test.panicparser";
