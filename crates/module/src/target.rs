//! What policy is asked about, where the destination is the one the client chose.

use std::net::SocketAddr;

use cilium_channel::State;
use cilium_policy::Direction;

use crate::metadata::Context;

/// The remote side of a connection.
pub(crate) struct Target {
    pub(crate) direction: Direction,
    pub(crate) remote: u32,
    pub(crate) port: u16,
    /// Reported as 0 for ingress.
    pub(crate) destination_identity: u32,
}

impl Target {
    pub(crate) fn new(context: &Context<'_>, destination: SocketAddr, state: &State) -> Self {
        let port = context.port;
        if context.ingress {
            let remote = context.source_identity;
            return Self { direction: Direction::Ingress, remote, port, destination_identity: 0 };
        }
        let identity = context.identity(state, context.destination.unwrap_or(destination.ip()));
        Self { direction: Direction::Egress, remote: identity, port, destination_identity: identity }
    }
}
