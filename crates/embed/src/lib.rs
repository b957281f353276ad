//! Runs Python parsers. Built as a library of its own that the module opens when a policy names such a parser, so that Envoy has
//! no Python otherwise; and linked into `cilium_proxy._core` for tests, so that these run what Envoy runs.
//!
//! `interpreter` starts Python within `memory`, `guest` is what the proxy calls, `calls` what parsers call, `interrupt` ends calls that take too
//! long. Threads, queues and limits are the proxy's (`crates/parser-host`).

#![deny(unsafe_code)]
#![allow(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over")]

mod calls;
mod errors;
mod guest;
mod interpreter;
mod interrupt;
mod memory;
mod operations;
mod symbol;

pub use guest::{Python3, load};

/// What the module looks for when it opens the library.
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "the one symbol that a library must export itself")]
pub extern "C" fn cilium_embed() -> *const cilium_embed_abi::Table {
    cilium_embed_abi::table::<Python3>()
}
