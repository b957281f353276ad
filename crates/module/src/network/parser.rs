//! A parser between Envoy's buffers: what it says becomes of the bytes, and what it adds.

use std::sync::{Arc, LazyLock};

use cilium_abi::network::{Connection, Status};
use cilium_accesslog::{Connection as Ends, EntryType, Queue};
use cilium_l7::{Closed, ConnectionInfo, CreateError, Forward, L7, Limits, Record, Shared, Site};
use cilium_proto::cilium::KafkaLogEntry;

use crate::log::{self, PooledEntry};
use crate::network::enforcement::Enforcement;

static SHARED: LazyLock<Shared> = LazyLock::new(Shared::default);

/// The parser of one connection.
pub(super) struct Parser {
    connection: cilium_l7::Connection,
    enforcement: Enforcement,
    records: Records,
    /// Directions whose end was seen: the client's, the server's.
    ended: [bool; 2],
}

/// What becomes of the bytes of one call.
pub(super) struct Outcome {
    forward: Forward,
    /// What the parser sends the other way.
    answer: Vec<u8>,
}

/// Makes access log entries of a parser's records.
struct Records {
    log: Option<Arc<Queue>>,
    info: ConnectionInfo,
    proxy_id: u16,
}

impl Parser {
    pub(super) fn new(
        info: ConnectionInfo,
        enforcement: Enforcement,
        log: Option<Arc<Queue>>,
    ) -> Result<Self, CreateError> {
        let records = Records { log, info: info.clone(), proxy_id: enforcement.proxy_id };
        let connection = cilium_l7::Connection::new(&enforcement.parser, info, &SHARED, Limits::default())?;
        Ok(Self { connection, enforcement, records, ended: [false; 2] })
    }

    /// Has the bytes in Envoy's buffer judged; `reply`: within `on_write`, else within `on_read`.
    pub(super) fn judge(&mut self, envoy: &Connection<'_>, reply: bool, end_stream: bool) -> Result<Outcome, Closed> {
        let data = if reply { envoy.peek_write() } else { envoy.peek_read() };
        let site = Site { policy: &self.enforcement, log: &mut self.records };
        let forward = self.connection.on_data(site, reply, end_stream, &data)?;
        self.ended[usize::from(reply)] |= end_stream;
        let answered = !self.ended[usize::from(!reply)];
        Ok(Outcome { forward, answer: if answered { self.connection.flush(!reply) } else { Vec::new() } })
    }
}

impl Outcome {
    /// Puts everything where it goes; whether Envoy goes on with what is in its buffer. Not while anything of the
    /// filter is borrowed: Envoy may call it again.
    pub(super) fn apply(self, envoy: &mut Connection<'_>, reply: bool, end_stream: bool) -> Status {
        let replaced = match self.forward {
            Forward::Unchanged => None,
            Forward::Replaced(bytes) => Some(bytes),
        };
        if replaced.is_some() {
            if reply {
                envoy.take_write(|_| ());
            } else {
                envoy.take_read(|_| ());
            }
        }
        inject(envoy, !reply, &self.answer, false);
        let Some(bytes) = replaced else { return Status::Continue };
        inject(envoy, reply, &bytes, end_stream);
        Status::StopIteration
    }
}

/// Sends bytes on without the filter seeing them.
fn inject(envoy: &mut Connection<'_>, reply: bool, bytes: &[u8], end_stream: bool) {
    if bytes.is_empty() && !end_stream {
        return;
    }
    if reply {
        envoy.inject_write(bytes, end_stream);
    } else {
        envoy.inject_read(bytes, end_stream);
    }
}

impl cilium_l7::Log for Records {
    fn log(&mut self, record: Record) {
        let Some(queue) = &self.log else { return };
        let mut entry = PooledEntry::new();
        let ends = Ends {
            policy_name: &self.info.policy_name,
            proxy_id: self.proxy_id,
            ingress: self.info.ingress,
            source_identity: self.info.source_id,
            source_address: &self.info.source_address,
            destination_identity: self.info.destination_id,
            destination_address: &self.info.destination_address,
        };
        entry.init_from_connection(&ends, log::now());
        entry.set_rule(record.rule.as_deref().unwrap_or_default());
        match &record.l7 {
            L7::Kafka(kafka) => entry.set_kafka(&KafkaLogEntry {
                correlation_id: kafka.correlation_id,
                error_code: kafka.error_code,
                api_version: kafka.api_version,
                api_key: kafka.api_key,
                topics: kafka.topics.clone(),
            }),
            L7::Generic { proto, fields } => {
                entry.update_from_metadata(proto, fields.iter().map(|(name, value)| (&**name, value.as_str())));
            }
        }
        let kind = match record.entry_type {
            cilium_l7::EntryType::Request => EntryType::Request,
            cilium_l7::EntryType::Response => EntryType::Response,
            cilium_l7::EntryType::Denied => EntryType::Denied,
        };
        queue.log(&mut entry, kind);
    }
}
