//! A parser between Envoy's buffers: what it says becomes of the bytes, and what it adds.

mod built_in;
mod python;
mod records;

use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::network::{Connection, Counter, NetworkFilterConfig, Status};
use cilium_accesslog::Queue;
use cilium_l7::{ConnectionInfo, Forward};
use cilium_parser_host::{Cause, Closed, Effect};

use crate::network::enforcement::Enforcement;

/// The event that a filter gets when its parser has judged something.
pub(super) const JUDGED: u64 = 2;

/// The parser of one connection.
pub(super) enum Parser {
    BuiltIn(Box<built_in::Parser>),
    Python(python::Parser),
}

/// What becomes of the bytes of one call.
pub(super) enum Outcome {
    Now {
        forward: Forward,
        /// What the parser sends the other way.
        answer: Vec<u8>,
    },
    /// They are kept, and come as effects.
    Later {
        /// Nothing more is to be read for now.
        pause: bool,
    },
}

/// What is left to do when a parser has nothing more to be sent on.
pub(super) struct Rest {
    /// Reading, which was paused, goes on.
    pub(super) resume: bool,
    /// Nothing is kept.
    pub(super) quiet: bool,
}

impl Parser {
    /// Starts the parser that the enforcement names, or says why there is none.
    pub(super) fn new(
        envoy: &Connection<'_>,
        info: ConnectionInfo,
        enforcement: Enforcement,
        log: Option<Arc<Queue>>,
    ) -> Result<Self, String> {
        match crate::python::host_of(&enforcement.parser) {
            None => {
                let parser = built_in::Parser::new(info, enforcement, log).map_err(|error| error.to_string())?;
                Ok(Self::BuiltIn(Box::new(parser)))
            }
            Some(Ok((host, name))) => {
                let name = name.into();
                Ok(Self::Python(python::Parser::new(host, name, envoy.scheduler(), info, enforcement, log)))
            }
            Some(Err(reason)) => Err(reason),
        }
    }

    /// Has the bytes in Envoy's buffer judged; `reply`: within `on_write`, else within `on_read`.
    pub(super) fn judge(&mut self, envoy: &Connection<'_>, reply: bool, end_stream: bool) -> Result<Outcome, Closed> {
        match self {
            Self::BuiltIn(parser) => parser
                .judge(envoy, reply, end_stream)
                .map_err(|closed| Closed { cause: Cause::Protocol, reason: closed.reason }),
            Self::Python(parser) => parser.judge(envoy, reply, end_stream),
        }
    }

    /// What is to be sent on next of what was kept.
    pub(super) fn next(&mut self) -> Result<Result<Effect, Rest>, Closed> {
        match self {
            Self::BuiltIn(_) => Ok(Err(Rest { resume: false, quiet: true })),
            Self::Python(parser) => parser.next(),
        }
    }
}

impl Outcome {
    /// Puts everything where it goes; whether Envoy goes on with what is in its buffer. Not while anything of the
    /// filter is borrowed: Envoy may call it again.
    pub(super) fn apply(self, envoy: &mut Connection<'_>, reply: bool, end_stream: bool) -> Status {
        match self {
            Self::Now { forward: Forward::Unchanged, answer } => {
                inject(envoy, &Effect { reply: !reply, bytes: answer, end: false });
                Status::Continue
            }
            Self::Now { forward: Forward::Replaced(bytes), answer } => {
                take(envoy, reply);
                inject(envoy, &Effect { reply: !reply, bytes: answer, end: false });
                inject(envoy, &Effect { reply, bytes, end: end_stream });
                Status::StopIteration
            }
            Self::Later { pause } => {
                take(envoy, reply);
                envoy.hold_close(true);
                if pause {
                    envoy.stop_reading(true);
                }
                Status::StopIteration
            }
        }
    }
}

/// Empties Envoy's buffer.
fn take(envoy: &mut Connection<'_>, reply: bool) {
    if reply {
        envoy.take_write(|_| ());
    } else {
        envoy.take_read(|_| ());
    }
}

/// Sends bytes on without the filter seeing them.
pub(super) fn inject(envoy: &mut Connection<'_>, effect: &Effect) {
    let Effect { reply, bytes, end } = effect;
    match reply {
        _ if bytes.is_empty() && !end => {}
        true => envoy.inject_write(bytes, *end),
        false => envoy.inject_read(bytes, *end),
    }
}

/// Counts connections that are closed for their parsers.
#[derive(Clone, Copy)]
pub(super) struct ClosedCounters {
    malformed: Counter,
    refused: Counter,
    failed: Counter,
    timed_out: Counter,
    overflowed: Counter,
}

impl ClosedCounters {
    pub(super) fn new(envoy: &NetworkFilterConfig) -> Result<Self, ConfigError> {
        let define = |name| envoy.define_counter(&format!("parser.closed.{name}"));
        Ok(Self {
            malformed: define("malformed")?,
            refused: define("refused")?,
            failed: define("failed")?,
            timed_out: define("timed_out")?,
            overflowed: define("overflowed")?,
        })
    }

    pub(super) fn count(&self, envoy: &Connection<'_>, cause: Cause) {
        envoy.increment(match cause {
            Cause::Protocol => self.malformed,
            Cause::Refused => self.refused,
            Cause::Failed => self.failed,
            Cause::Time => self.timed_out,
            Cause::Overflow => self.overflowed,
        });
    }
}
