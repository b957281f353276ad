//! Drives the parser of one connection.

use std::panic::resume_unwind;

use thiserror::Error;

use crate::info::ConnectionInfo;
use crate::inject::InjectBuffer;
use crate::op::Op;
use crate::parser::{Context, Parser, call};
use crate::record::Log;
use crate::registry::{CreateError, Shared, create};
use crate::request::Policy;

/// Bounds on what a connection may hold in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes kept per direction while a message is incomplete. A message that must be seen whole and is longer closes the connection.
    pub buffered: usize,
    /// Bytes a parser may add to a direction before they are taken.
    pub injected: usize,
}

/// Where a connection's verdicts come from and its records go to, for one call.
pub struct Site<'a> {
    /// The policy in force now.
    pub policy: &'a dyn Policy,
    /// Takes the access log records.
    pub log: &'a mut dyn Log,
}

/// What to forward of the bytes of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    /// All of them, as they came.
    Unchanged,
    /// These instead; may be empty.
    Replaced(Vec<u8>),
}

/// The connection must be closed, in both directions, and nothing more forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Closed {
    /// One sentence.
    pub reason: String,
}

/// A connection with its parser, its incomplete messages and the bytes its parser added.
pub struct Connection {
    info: ConnectionInfo,
    name: String,
    parser: Box<dyn Parser>,
    limits: Limits,
    halves: [Half; 2],
    inject: [InjectBuffer; 2],
    closed: Option<Closed>,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    /// The start of an incomplete message.
    buffer: Vec<u8>,
    /// Length the buffer must have before the parser wants to see it again.
    need: usize,
    /// Bytes to pass before the next message.
    pass: usize,
    /// Bytes to drop before the next message.
    drop: usize,
}

/// Collects what to forward; copies only once something differs from the input.
struct Output<'a> {
    input: &'a [u8],
    passed: usize,
    replaced: Option<Vec<u8>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { buffered: 16 << 20, injected: 4 << 20 }
    }
}

impl Forward {
    /// The bytes to forward, given those that came.
    #[must_use]
    pub fn bytes<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Unchanged => input,
            Self::Replaced(bytes) => bytes,
        }
    }
}

impl Connection {
    /// Starts the parser of a new connection.
    pub fn new(parser: &str, info: ConnectionInfo, shared: &Shared, limits: Limits) -> Result<Self, CreateError> {
        Ok(Self::with_parser(parser, create(parser, &info, shared)?, info, limits))
    }

    /// Starts with a parser that is made already; `name` is for reasons.
    #[must_use]
    pub fn with_parser(name: &str, parser: Box<dyn Parser>, info: ConnectionInfo, limits: Limits) -> Self {
        Self {
            parser,
            info,
            name: name.to_owned(),
            limits,
            halves: [Half::default(), Half::default()],
            inject: [InjectBuffer::new(limits.injected), InjectBuffer::new(limits.injected)],
            closed: None,
        }
    }

    /// How many bytes of a direction [`Self::on_data`] takes without a call of the parser: a part of what was decided
    /// earlier to be passed or dropped.
    #[must_use]
    pub fn decided(&self, reply: bool) -> usize {
        let half = &self.halves[usize::from(reply)];
        half.pass.saturating_add(half.drop).saturating_sub(1)
    }

    /// Who talks to whom.
    #[must_use]
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Bytes wait that can be sent in the direction now, see [`Self::flush`].
    #[must_use]
    pub fn can_flush(&self, reply: bool) -> bool {
        let half = &self.halves[usize::from(reply)];
        half.pass == 0 && half.drop == 0 && !self.inject[usize::from(reply)].is_empty()
    }

    /// The bytes added to a direction, if it is between two messages; else they go out once it is. To be called for the other
    /// direction after each [`Self::on_data`], as that may have answered a denied request.
    pub fn flush(&mut self, reply: bool) -> Vec<u8> {
        if self.can_flush(reply) { self.inject[usize::from(reply)].take() } else { Vec::new() }
    }

    /// Takes bytes of a direction. After an error the connection stays closed.
    ///
    /// # Panics
    ///
    /// If the parser does, once that is in the access log.
    pub fn on_data(
        &mut self,
        mut site: Site<'_>,
        reply: bool,
        end_stream: bool,
        data: &[u8],
    ) -> Result<Forward, Closed> {
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        self.drive(&mut site, reply, end_stream, data).map_err(|reason| {
            let closed = Closed { reason: format!("{}: {reason}", self.name) };
            self.closed = Some(closed.clone());
            closed
        })
    }

    /// Acts on what was decided earlier, then has the rest parsed, with what was kept.
    fn drive(&mut self, site: &mut Site<'_>, reply: bool, end_stream: bool, data: &[u8]) -> Result<Forward, String> {
        let half = &mut self.halves[usize::from(reply)];
        let mut output = Output { input: data, passed: 0, replaced: None };

        let early = half.pass.min(data.len());
        output.pass(&data[..early]);
        half.pass -= early;
        let rest = &data[early..];
        let dropped = half.drop.min(rest.len());
        if dropped > 0 {
            output.change();
        }
        half.drop -= dropped;
        let rest = &rest[dropped..];
        if half.pass > 0 || half.drop > 0 {
            return Ok(output.finish());
        }
        if !self.inject[usize::from(reply)].is_empty() {
            output.insert(&self.inject[usize::from(reply)].take());
        }

        if half.buffer.is_empty() && rest.len() >= half.need {
            self.parse(site, reply, end_stream, rest, &mut output)?;
            return Ok(output.finish());
        }
        output.change();
        half.buffer.extend_from_slice(rest);
        if half.buffer.len() >= half.need {
            let kept = std::mem::take(&mut half.buffer);
            self.parse(site, reply, end_stream, &kept, &mut output)?;
        }
        Ok(output.finish())
    }

    /// Has the bytes parsed as far as possible, and keeps the rest.
    fn parse(
        &mut self,
        site: &mut Site<'_>,
        reply: bool,
        end_stream: bool,
        mut rest: &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), String> {
        let half = &mut self.halves[usize::from(reply)];
        half.need = 0;
        let mut failure = None;
        // Injected since bytes were taken: a parser that takes none could go on forever.
        let mut injected = 0;
        loop {
            let mut context = Context {
                info: &self.info,
                policy: site.policy,
                log: &mut *site.log,
                inject: &mut self.inject,
                failure: &mut failure,
            };
            let called = call(&self.name, &mut *self.parser, &mut context, (reply, end_stream), rest);
            let op = called.unwrap_or_else(|panic| {
                self.closed = Some(Closed { reason: format!("{}: it panicked", self.name) });
                resume_unwind(panic)
            });
            if self.inject.iter().any(InjectBuffer::is_cut) {
                return Err(format!("more than {} bytes to inject", self.limits.injected));
            }
            match op {
                Op::Pass(0) | Op::Drop(0) | Op::Inject(0) | Op::More(0) => {
                    return Err("the parser returned an operation on 0 bytes".into());
                }
                Op::Pass(count) => {
                    injected = 0;
                    let now = count.min(rest.len());
                    output.pass(&rest[..now]);
                    rest = &rest[now..];
                    half.pass = count - now;
                }
                Op::Drop(count) => {
                    injected = 0;
                    let now = count.min(rest.len());
                    output.change();
                    rest = &rest[now..];
                    half.drop = count - now;
                }
                Op::Inject(count) => match self.inject[usize::from(reply)].drain(count) {
                    Some(bytes) if injected + count <= self.limits.injected => {
                        injected += count;
                        output.insert(&bytes);
                    }
                    Some(_) => return Err(format!("more than {} bytes to inject", self.limits.injected)),
                    None => return Err("the parser injects more bytes than it has".into()),
                },
                Op::More(count) => {
                    half.need = rest.len().saturating_add(count);
                    break;
                }
                Op::Nop => break,
                Op::Error(code) => return Err(failure.unwrap_or_else(|| format!("malformed message ({code:?})"))),
            }
            if half.pass > 0 || half.drop > 0 {
                return Ok(());
            }
        }
        if !self.inject[usize::from(reply)].is_empty() {
            return Err("the parser left injected bytes behind".into());
        }
        let (needed, limit) = (half.need.max(rest.len()), self.limits.buffered);
        if needed > limit {
            return Err(format!("a message of at least {needed} bytes, over the {limit} that may be kept"));
        }
        if !rest.is_empty() {
            output.change();
            half.buffer = rest.to_vec();
        }
        Ok(())
    }
}

impl Output<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        match &mut self.replaced {
            Some(replaced) => replaced.extend_from_slice(bytes),
            None => self.passed += bytes.len(),
        }
    }

    /// From here on, the output is not the input.
    fn change(&mut self) -> &mut Vec<u8> {
        self.replaced.get_or_insert_with(|| self.input[..self.passed].to_vec())
    }

    fn insert(&mut self, bytes: &[u8]) {
        self.change().extend_from_slice(bytes);
    }

    fn finish(self) -> Forward {
        self.replaced.map_or(Forward::Unchanged, Forward::Replaced)
    }
}

#[cfg(test)]
mod tests;
