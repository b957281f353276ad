//! Who wants to know what happens on the channel.

use std::time::Duration;

use crate::resource::ResourceType;
use crate::state::State;

/// Told of events on the client's thread; holds up the channel while it runs, never a worker.
pub trait Observer: Send + 'static {
    /// Connected to a control plane and greeted by it.
    fn connected(&mut self) {}

    /// The connection ended. The state stays in force.
    fn disconnected(&mut self, error: &str) {
        let _ = error;
    }

    /// An attempt to connect failed.
    fn unreachable(&mut self, error: &str) {
        let _ = error;
    }

    /// A transaction was answered. If it was accepted, the state holds it already.
    fn updated(&mut self, update: &Update<'_>) {
        let _ = update;
    }

    /// All the types that the control plane requires have been applied. Called once.
    fn ready(&mut self) {}
}

/// For those who do not want to know.
impl Observer for () {}

/// A transaction that was answered.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    /// Type of the resources; `None`: one the module does not know.
    pub resource_type: Option<ResourceType>,
    /// Type as the control plane named it.
    pub type_url: &'a str,
    /// The upserts were the whole state.
    pub full: bool,
    /// First of a stream that was opened anew.
    pub new_stream: bool,
    /// Version that the transaction leads to.
    pub version: &'a str,
    /// Number of resources added or replaced.
    pub upserts: usize,
    /// Number of resources removed by name.
    pub removed: usize,
    /// What was answered.
    pub outcome: &'a Outcome,
    /// What is in force now.
    pub state: &'a State,
    /// From the transaction's last byte to its answer.
    pub elapsed: Duration,
}

/// Answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker enforces it.
    Accepted,
    /// Refused as a whole, with the reason.
    Rejected(String),
    /// Does not start from the version held, which is this one (empty: none).
    BaseMismatch(String),
}
