//! What the host starts with.

use std::path::PathBuf;
use std::time::Duration;

use cilium_embed_abi::Library;

/// Where the guest comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A library, and those that it needs, in their order.
    Files {
        /// The guest.
        library: PathBuf,
        /// What must be loaded before it.
        needed: Vec<PathBuf>,
    },
    /// Linked in.
    Linked(Library),
}

/// What the guest starts with; see [`cilium_embed_abi::Settings`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "see there")]
pub struct Config {
    pub source: Source,
    pub program: String,
    pub package: String,
    pub directories: Vec<String>,
    pub memory: u64,
    pub limits: Limits,
}

/// What the name of a Python parser starts with in a policy.
pub const PREFIX: &str = "python:";

/// Bounds. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one call of a parser.
    pub time: Duration,
    /// Of loading a parser.
    pub load_time: Duration,
    /// Beyond the limit, until a call counts as stuck.
    pub grace: Duration,
    /// Of a connection and direction, waiting: above it, reading is paused.
    pub pause: usize,
    /// Of a connection and direction, waiting: above it, the connection is closed.
    pub waiting: usize,
    /// Of all connections, waiting: above it, the connection that adds to it is closed.
    pub total: usize,
    /// How often it is looked whether the guest's files changed.
    pub look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(1),
            load_time: Duration::from_secs(10),
            grace: Duration::from_secs(1),
            pause: 256 << 10,
            waiting: 16 << 20,
            total: 256 << 20,
            look: Duration::from_millis(500),
        }
    }
}
