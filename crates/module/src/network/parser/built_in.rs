//! The parsers of `crates/l7`, run by the worker.

use std::sync::{Arc, LazyLock};

use cilium_abi::network::Connection;
use cilium_accesslog::Queue;
use cilium_l7::{Closed, ConnectionInfo, CreateError, Limits, Shared, Site};

use crate::network::enforcement::Enforcement;
use crate::network::parser::Outcome;
use crate::network::parser::records::Records;

static SHARED: LazyLock<Shared> = LazyLock::new(Shared::default);

/// The parser of one connection.
pub(in crate::network) struct Parser {
    connection: cilium_l7::Connection,
    enforcement: Enforcement,
    records: Records,
    /// Directions whose end was seen: the client's, the server's.
    ended: [bool; 2],
}

impl Parser {
    pub(super) fn new(
        info: ConnectionInfo,
        enforcement: Enforcement,
        log: Option<Arc<Queue>>,
    ) -> Result<Self, CreateError> {
        let records = Records::new(log, &info, &enforcement);
        let connection = cilium_l7::Connection::new(&enforcement.parser, info, &SHARED, Limits::default())?;
        Ok(Self { connection, enforcement, records, ended: [false; 2] })
    }

    /// Has the bytes in Envoy's buffer judged.
    pub(super) fn judge(&mut self, envoy: &Connection<'_>, reply: bool, end_stream: bool) -> Result<Outcome, Closed> {
        let data = if reply { envoy.peek_write() } else { envoy.peek_read() };
        let site = Site { policy: &self.enforcement, log: &mut self.records };
        let forward = self.connection.on_data(site, reply, end_stream, &data)?;
        self.ended[usize::from(reply)] |= end_stream;
        let answered = !self.ended[usize::from(!reply)];
        Ok(Outcome::Now { forward, answer: if answered { self.connection.flush(!reply) } else { Vec::new() } })
    }
}
