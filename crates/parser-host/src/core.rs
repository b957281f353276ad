//! A connection with its parser, as the guest's thread works on it.

use std::sync::Arc;

use cilium_embed_abi::Failure;
use cilium_l7::{Connection, ConnectionInfo, Forward, Limits, Log, Policy, Protocol, Site};

use crate::closed::{Cause, Closed};
use crate::config::PREFIX;
use crate::lock;
use crate::protocol::{Failed, GuestProtocol};
use crate::session::{Effect, MakePolicy};

/// Before and after the parser was made.
pub(crate) enum Core {
    New(Box<New>),
    Open(Box<Open>),
}

/// What a connection starts with.
pub(crate) struct New {
    pub(crate) info: ConnectionInfo,
    pub(crate) policy: MakePolicy,
    pub(crate) log: Box<dyn Log + Send>,
}

/// A connection with its parser. What it holds of the guest must be dropped on the guest's thread.
pub(crate) struct Open {
    connection: Connection,
    policy: Box<dyn Policy + Send>,
    log: Box<dyn Log + Send>,
    failed: Failed,
    /// Directions whose end was seen: the client's, the server's.
    ended: [bool; 2],
}

/// Why a connection is closed, and what went wrong in its parser, if that did.
pub type Refusal = (Closed, Option<Failure>);

impl Open {
    /// Has the parser made; otherwise the reason may have further lines.
    pub(crate) fn new(new: New, name: &str, protocol: Arc<GuestProtocol>) -> Result<Self, String> {
        let failed = Failed::default();
        let parser = protocol.parser(&new.info, Arc::clone(&failed))?;
        let connection = Connection::with_parser(&format!("{PREFIX}{name}"), parser, new.info, Limits::default());
        let protocol: Arc<dyn Protocol> = protocol;
        Ok(Self { connection, policy: (new.policy)(protocol), log: new.log, failed, ended: [false; 2] })
    }

    /// How many bytes [`Self::forward`] takes without a call of the parser.
    pub(crate) fn decided(&self, reply: bool) -> usize {
        self.connection.decided(reply)
    }

    /// Takes bytes of a direction.
    pub(crate) fn forward(&mut self, reply: bool, end: bool, data: &[u8]) -> Result<Forward, Refusal> {
        let site = Site { policy: &*self.policy, log: &mut *self.log };
        let forward = self.connection.on_data(site, reply, end, data);
        self.ended[usize::from(reply)] |= end;
        forward.map_err(|closed| {
            let failure = lock(&self.failed).take();
            let cause = failure.as_ref().map_or(Cause::Protocol, |failure| failure.kind.into());
            (Closed::new(cause, closed.reason), failure)
        })
    }

    /// As [`Self::forward`], with all that comes of it.
    pub(crate) fn feed(
        &mut self,
        reply: bool,
        end: bool,
        data: Vec<u8>,
    ) -> Result<impl Iterator<Item = Effect> + use<>, Refusal> {
        let bytes = match self.forward(reply, end, &data)? {
            Forward::Unchanged => data,
            Forward::Replaced(bytes) => bytes,
        };
        let answer = if self.ended[usize::from(!reply)] { Vec::new() } else { self.connection.flush(!reply) };
        let answer = Effect { reply: !reply, bytes: answer, end: false };
        Ok([answer, Effect { reply, bytes, end }].into_iter().filter(|effect| !effect.bytes.is_empty() || effect.end))
    }
}
