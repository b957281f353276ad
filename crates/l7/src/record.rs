//! Access log records of parsers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// A message of the client that was passed.
    Request,
    /// A message of the server that was passed.
    Response,
    /// A message that was not passed.
    Denied,
}

/// One message, for the access log. Addresses, identities and time are the caller's to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Passed or not.
    pub entry_type: EntryType,
    /// The message.
    pub l7: L7,
    /// Name of the rule that decided, if it has one.
    pub rule: Option<Arc<str>>,
}

/// The message, as the access log's protocol shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum L7 {
    /// `cilium.KafkaLogEntry`.
    Kafka(KafkaEntry),
    /// `cilium.L7LogEntry`.
    Generic {
        /// Name of the protocol.
        proto: Cow<'static, str>,
        /// The protocol's own names and values.
        fields: BTreeMap<Cow<'static, str>, String>,
    },
}

/// A message of Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaEntry {
    /// The client's number of the request.
    pub correlation_id: i32,
    /// A Kafka error code; 0 if the request was passed.
    pub error_code: i32,
    /// Version of the API.
    pub api_version: i32,
    /// Number of the API.
    pub api_key: i32,
    /// In the order of the request, each once.
    pub topics: Vec<String>,
}

/// Takes the records of a connection.
pub trait Log {
    /// Must not block.
    fn log(&mut self, record: Record);
}

impl Log for Vec<Record> {
    fn log(&mut self, record: Record) {
        self.push(record);
    }
}

impl EntryType {
    /// The name in `cilium.EntryType`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "Request",
            Self::Response => "Response",
            Self::Denied => "Denied",
        }
    }
}

impl L7 {
    /// A generic entry.
    #[must_use]
    pub fn generic<const N: usize>(proto: &'static str, fields: [(&'static str, String); N]) -> Self {
        Self::Generic {
            proto: proto.into(),
            fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        }
    }
}
