//! Access log entries of a parser's records.

use std::sync::Arc;

use cilium_accesslog::{Connection as Ends, EntryType, Queue};
use cilium_l7::{ConnectionInfo, L7, Record};
use cilium_proto::cilium::KafkaLogEntry;

use crate::log::{self, PooledEntry};
use crate::network::enforcement::Enforcement;

/// Makes access log entries of a parser's records.
pub(super) struct Records {
    log: Option<Arc<Queue>>,
    info: ConnectionInfo,
    proxy_id: u16,
}

impl Records {
    pub(super) fn new(log: Option<Arc<Queue>>, info: &ConnectionInfo, enforcement: &Enforcement) -> Self {
        Self { log, info: info.clone(), proxy_id: enforcement.proxy_id }
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
