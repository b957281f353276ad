//! Parsers written in Python: run by a thread of their own, for which no worker waits.

use std::sync::Arc;

use cilium_abi::network::{Connection, Scheduler};
use cilium_accesslog::Queue;
use cilium_l7::ConnectionInfo;
use cilium_parser_host::{Closed, Effect, Host, NewSession, Pushed, Session};

use crate::network::enforcement::Enforcement;
use crate::network::parser::records::Records;
use crate::network::parser::{JUDGED, Outcome, Rest};

/// The parser of one connection.
pub(in crate::network) struct Parser {
    session: Session,
    /// Nothing is read from the client for now.
    paused: bool,
}

impl Parser {
    pub(super) fn new(
        host: &Host,
        name: Arc<str>,
        scheduler: Scheduler,
        info: ConnectionInfo,
        mut enforcement: Enforcement,
        log: Option<Arc<Queue>>,
    ) -> Self {
        let log = Box::new(Records::new(log, &info, &enforcement));
        let session = host.open(NewSession {
            parser: name,
            info,
            policy: Box::new(move |protocol| {
                enforcement.protocol = Some(protocol);
                Box::new(enforcement)
            }),
            log,
            wake: Box::new(move || scheduler.commit(JUDGED)),
        });
        Self { session, paused: false }
    }

    /// Hands over the bytes in Envoy's buffer.
    pub(super) fn judge(&mut self, envoy: &Connection<'_>, reply: bool, end_stream: bool) -> Result<Outcome, Closed> {
        let data = if reply { envoy.peek_write() } else { envoy.peek_read() };
        Ok(match self.session.push(reply, &data, end_stream)? {
            Pushed::Now(forward) => Outcome::Now { forward, answer: Vec::new() },
            Pushed::Later { pause } => Outcome::Later { pause: pause && !std::mem::replace(&mut self.paused, true) },
        })
    }

    pub(super) fn next(&mut self) -> Result<Result<Effect, Rest>, Closed> {
        Ok(self.session.next()?.ok_or_else(|| {
            let resume = self.paused && self.session.may_resume();
            self.paused &= !resume;
            Rest { resume, quiet: self.session.is_quiet() }
        }))
    }
}
