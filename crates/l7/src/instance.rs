//! Many connections under named policies, driven step by step as the reference's parser library is. For conformance cases and
//! tools; a proxy uses [`Connection`](crate::Connection).

use std::collections::HashMap;
use std::sync::Arc;

use cilium_policy::{Direction, Snapshot};
use thiserror::Error;

use crate::info::ConnectionInfo;
use crate::inject::InjectBuffer;
use crate::op::Op;
use crate::parser::{Context, Parser, Seed, call, panic_message};
use crate::policy::{Asker, PortRules};
use crate::record::Record;
use crate::registry::{CreateError, Shared, create};
use crate::request::Request;

/// Connections, policies and the access log.
pub struct Instance {
    policies: Arc<Snapshot>,
    connections: HashMap<u64, Slot>,
    log: Vec<(ConnectionInfo, Record)>,
    shared: Shared,
}

struct Slot {
    info: ConnectionInfo,
    name: String,
    parser: Box<dyn Parser>,
    /// Towards the server, towards the client.
    inject: [InjectBuffer; 2],
}

/// What a connection starts with.
#[derive(Debug, Clone, Copy)]
pub struct NewConnection<'a> {
    /// The caller's number of it.
    pub id: u64,
    /// Name of the parser.
    pub parser: &'a str,
    /// Seen from the endpoint whose policy applies.
    pub ingress: bool,
    /// Identities of the source and the destination.
    pub identities: (u32, u32),
    /// `address:port` of the source.
    pub source: &'a str,
    /// `address:port` of the destination.
    pub destination: &'a str,
    /// Name of the policy.
    pub policy: &'a str,
    /// Size of each injection buffer in bytes.
    pub inject_limit: usize,
}

/// The reference's results, under its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterResult {
    /// Go on.
    Ok = 0,
    /// The parser refuses the connection.
    PolicyDrop = 1,
    /// The parser gave up.
    ParserError = 2,
    /// There is no such parser.
    UnknownParser = 3,
    /// There is no such connection.
    UnknownConnection = 4,
    /// The destination has no port.
    InvalidAddress = 5,
}

/// A step that is not [`FilterResult::Ok`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct StepError {
    /// The reference's result.
    pub result: FilterResult,
    /// One sentence.
    pub reason: String,
}

/// The operations of a step, and why it ended if not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOps {
    /// In order; none is [`Op::Nop`].
    pub ops: Vec<Op>,
    /// [`FilterResult::ParserError`] after an operation that cannot be.
    pub result: Result<(), StepError>,
}

impl Instance {
    /// No connections yet.
    #[must_use]
    pub fn new(policies: Arc<Snapshot>) -> Self {
        Self { policies, connections: HashMap::new(), log: Vec::new(), shared: Shared::default() }
    }

    /// Puts other policies in force, at once for all connections.
    pub fn set_policies(&mut self, policies: Arc<Snapshot>) {
        self.policies = policies;
    }

    /// Starts a connection.
    pub fn new_connection(&mut self, new: NewConnection<'_>) -> Result<(), StepError> {
        let refused = |result, reason: String| StepError { result, reason };
        // The reference looks for the parser first.
        if !crate::registry::PARSERS.contains(&new.parser) {
            let error = CreateError::Unknown(new.parser.to_owned());
            return Err(refused(FilterResult::UnknownParser, error.to_string()));
        }
        let info = ConnectionInfo::new(new.ingress, new.identities, new.source, new.destination, new.policy)
            .map_err(|error| refused(FilterResult::InvalidAddress, error.to_string()))?;
        let parser = create(new.parser, &info, &self.shared).map_err(|error| {
            let result = match error {
                CreateError::Unknown(_) => FilterResult::UnknownParser,
                CreateError::Refused(_) => FilterResult::PolicyDrop,
            };
            refused(result, error.to_string())
        })?;
        let inject = [InjectBuffer::new(new.inject_limit), InjectBuffer::new(new.inject_limit)];
        self.connections.insert(new.id, Slot { info, name: new.parser.to_owned(), parser, inject });
        Ok(())
    }

    /// Makes a connection's parser know something from before. See [`Seed`].
    pub fn seed(&mut self, id: u64, seed: &Seed<'_>) -> Result<(), StepError> {
        let slot = self.connections.get_mut(&id).ok_or_else(|| unknown(id))?;
        slot.parser.seed(seed);
        Ok(())
    }

    /// Calls the parser until it has given `max_ops` operations, wants more bytes or has nothing to do. Bytes that are left over
    /// are not kept; the caller sends them again. What the parser injects stays in the buffers until
    /// [`Self::take_injected`].
    pub fn on_data(
        &mut self,
        id: u64,
        reply: bool,
        end_stream: bool,
        chunks: &[&[u8]],
        max_ops: usize,
    ) -> Result<StepOps, StepError> {
        let slot = self.connections.get_mut(&id).ok_or_else(|| unknown(id))?;
        let data = chunks.concat();
        let mut rest = &data[..];
        let info = &slot.info;
        let direction = if info.ingress { Direction::Ingress } else { Direction::Egress };
        let port = self.policies.policy(&info.policy_name, false).port(direction, info.port);
        let asker =
            Asker { parser: &slot.name, proxy_id: 0, remote: info.remote_id(), server_name: "", protocol: None };
        let rules = PortRules::new(port, &info.policy_name, asker);
        let decide = |request: &Request<'_>| rules.decide(port, request);
        let mut records: Vec<Record> = Vec::new();
        let mut step = StepOps { ops: Vec::new(), result: Ok(()) };
        let mut failure = None;
        while step.ops.len() < max_ops {
            let mut context =
                Context { info, policy: &decide, log: &mut records, inject: &mut slot.inject, failure: &mut failure };
            let op = match call(&slot.name, &mut *slot.parser, &mut context, (reply, end_stream), rest) {
                Ok(op) => op,
                Err(panic) => {
                    let reason = panic_message(panic.as_ref()).to_owned();
                    step.result = Err(StepError { result: FilterResult::ParserError, reason });
                    break;
                }
            };
            match op.code() {
                None => break,
                Some((_, 0)) => {
                    let reason = failure.take().unwrap_or_else(|| format!("the parser returned {op:?}"));
                    step.result = Err(StepError { result: FilterResult::ParserError, reason });
                    break;
                }
                Some(_) => step.ops.push(op),
            }
            match op {
                Op::More(_) => break,
                Op::Pass(count) | Op::Drop(count) => rest = &rest[count.min(rest.len())..],
                Op::Inject(_) if slot.inject[usize::from(reply)].is_full() => break,
                Op::Inject(_) | Op::Error(_) | Op::Nop => {}
            }
        }
        self.log.extend(records.into_iter().map(|record| (info.clone(), record)));
        Ok(step)
    }

    /// Empties a connection's injection buffer of a direction.
    pub fn take_injected(&mut self, id: u64, reply: bool) -> Vec<u8> {
        self.connections.get_mut(&id).map(|slot| slot.inject[usize::from(reply)].take()).unwrap_or_default()
    }

    /// Ends a connection.
    pub fn close(&mut self, id: u64) {
        self.connections.remove(&id);
    }

    /// The access log since the last call.
    pub fn take_log(&mut self) -> Vec<(ConnectionInfo, Record)> {
        std::mem::take(&mut self.log)
    }
}

fn unknown(id: u64) -> StepError {
    StepError { result: FilterResult::UnknownConnection, reason: format!("there is no connection {id}") }
}
