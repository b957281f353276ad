//! Envoy's log, component `dynamic_modules`.

use crate::raw::{self, Buffer};

/// Envoy's log levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// Whether a message of that level would be printed; ask before building one on the hot path.
#[must_use]
pub fn enabled(level: Level) -> bool {
    // SAFETY: takes a number only.
    unsafe { raw::log_enabled(level as u32) }
}

/// Writes a message.
pub fn log(level: Level, message: &str) {
    // SAFETY: Envoy copies the bytes before it returns.
    unsafe { raw::log(level as u32, Buffer::new(message.as_bytes())) }
}
