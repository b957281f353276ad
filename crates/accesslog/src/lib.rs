//! Access log entries and the socket they go to.
//!
//! An [`Entry`] collects what is known of one request and encodes it as a `cilium.LogEntry`; a [`Queue`] takes it from the
//! worker, and its thread has a [`Sender`] pass it to whoever listens on a Unix socket: the Cilium agent, the standalone
//! proxy's control plane, or `cilium-proxy observe`. No worker waits: what finds no room is dropped and counted.

#![forbid(unsafe_code)]

mod batch;
mod entry;
mod queue;
mod sender;
mod stats;
mod transport;
mod trim;
mod watch;
mod wire;

pub use cilium_proto::cilium::{EntryType, HttpProtocol, LogEntry};

pub use entry::{Connection, Entry};
pub use queue::Queue;
pub use sender::Sender;
pub use stats::{Dropped, Stats};
pub use trim::{MARK, MAX_PACKET};
pub use watch::Observer;
