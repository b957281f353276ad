//! The access log's other end: receives entries from Envoy, prints them, writes them.
//!
//! [`Compact`] and [`json`] are pure: an entry in, text out. A [`Receiver`] has a thread that never waits for anything
//! else, a [`Writer`] one that formats and writes and may block; between them is a bounded [`Queue`], and what finds no
//! room in it is dropped and counted.

#![forbid(unsafe_code)]

mod compact;
mod error;
mod frames;
pub mod json;
mod listener;
mod names;
mod printable;
mod queue;
mod receiver;
mod sender;
mod signal;
mod stats;
mod target;
mod writer;

use std::fmt;
use std::sync::Arc;

pub use compact::Compact;
pub use error::reason;
pub use listener::{ListenError, Transport};
pub use names::Names;
pub use queue::{Batch, Queue};
pub use receiver::Receiver;
pub use stats::{Counter, Received, Written};
pub use target::{Destination, Form};
pub use writer::Writer;

/// Says a sentence to whoever runs the proxy. Called from the threads.
#[derive(Clone)]
pub struct Tell(Arc<dyn Fn(&str) + Send + Sync>);

impl Tell {
    /// Hands sentences to `say`.
    pub fn new(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(say))
    }

    pub(crate) fn say(&self, text: &str) {
        (self.0)(text);
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}
