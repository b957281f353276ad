//! What is known of one request, kept in the form it is sent in.

use cilium_proto::cilium::{EntryType, HttpProtocol, KafkaLogEntry};
use prost::Message as _;

use crate::wire;

/// Field numbers of `api/cilium/api/accesslog.proto`.
mod field {
    pub(super) const TIMESTAMP: u32 = 1;
    pub(super) const ENTRY_TYPE: u32 = 3;
    pub(super) const POLICY_NAME: u32 = 4;
    pub(super) const RULE_REF: u32 = 5;
    pub(super) const SOURCE_ID: u32 = 6;
    pub(super) const SOURCE_ADDRESS: u32 = 7;
    pub(super) const DESTINATION_ADDRESS: u32 = 8;
    pub(super) const IS_INGRESS: u32 = 15;
    pub(super) const DESTINATION_ID: u32 = 16;
    pub(super) const PROXY_ID: u32 = 17;
    pub(super) const HTTP: u32 = 100;
    pub(super) const KAFKA: u32 = 101;
    pub(super) const GENERIC_L7: u32 = 102;

    pub(super) mod http {
        pub(in super::super) const PROTOCOL: u32 = 1;
        pub(in super::super) const SCHEME: u32 = 2;
        pub(in super::super) const HOST: u32 = 3;
        pub(in super::super) const PATH: u32 = 4;
        pub(in super::super) const METHOD: u32 = 5;
        pub(in super::super) const HEADERS: u32 = 6;
        pub(in super::super) const STATUS: u32 = 7;
        pub(in super::super) const MISSING: u32 = 8;
        pub(in super::super) const REJECTED: u32 = 9;
    }

    pub(super) mod l7 {
        pub(in super::super) const PROTO: u32 = 1;
        pub(in super::super) const FIELDS: u32 = 2;
    }
}

const REQUEST_ID: &[u8] = b"x-request-id";

/// Both ends of a connection, and the policy applied to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection<'a> {
    /// Endpoint (or ingress policy) whose policy is applied.
    pub policy_name: &'a str,
    /// Number of the listener.
    pub proxy_id: u16,
    /// Taken by an ingress listener.
    pub ingress: bool,
    /// Security identity of the source.
    pub source_identity: u32,
    /// "ip:port" or "\[ip\]:port" of the source, before any translation; empty: unknown.
    pub source_address: &'a str,
    /// Security identity of the destination; 0: unknown.
    pub destination_identity: u32,
    /// "ip:port" or "\[ip\]:port" of the destination, before any translation; empty: unknown.
    pub destination_address: &'a str,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum L7 {
    #[default]
    None,
    Http,
    Kafka,
    Generic,
}

/// One request or connection on its way to the access log.
///
/// What comes from headers is kept encoded, everything else as it came; buffers keep their capacity when an entry is
/// initialised again. What is logged when is up to the caller; the fields follow the reference: a response entry repeats scheme,
/// host, path and method of the request, its "x-request-id" and the missing and rejected headers.
#[derive(Debug, Default)]
pub struct Entry {
    timestamp: u64,
    policy_name: Vec<u8>,
    proxy_id: u16,
    ingress: bool,
    rule_ref: Vec<u8>,
    source_identity: u32,
    source_address: Vec<u8>,
    destination_identity: u32,
    destination_address: Vec<u8>,
    l7: L7,
    protocol: i32,
    /// Encoded `scheme`, `host`, `path` and `method` of `HttpLogEntry`. Of a field that is there twice the last counts.
    request: Vec<u8>,
    /// First "x-request-id" seen; empty: none.
    request_id: Vec<u8>,
    status: u32,
    /// Encoded `headers` of `HttpLogEntry`.
    headers: Vec<u8>,
    /// Encoded `missing_headers` and `rejected_headers` of `HttpLogEntry`, in the order they were added.
    findings: Vec<u8>,
    /// Encoded `L7LogEntry` or `KafkaLogEntry`.
    generic: Vec<u8>,
    request_logged: bool,
}

impl Entry {
    /// An entry that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts over with a connection seen at `timestamp`, in nanoseconds since the Unix epoch.
    pub fn init_from_connection(&mut self, connection: &Connection<'_>, timestamp: u64) {
        self.timestamp = timestamp;
        replace(&mut self.policy_name, connection.policy_name.as_bytes());
        self.proxy_id = connection.proxy_id;
        self.ingress = connection.ingress;
        self.rule_ref.clear();
        self.source_identity = connection.source_identity;
        replace(&mut self.source_address, connection.source_address.as_bytes());
        self.destination_identity = connection.destination_identity;
        replace(&mut self.destination_address, connection.destination_address.as_bytes());
        self.l7 = L7::None;
        self.protocol = 0;
        self.request.clear();
        self.request_id.clear();
        self.status = 0;
        self.headers.clear();
        self.findings.clear();
        self.generic.clear();
        self.request_logged = false;
    }

    /// Starts over with a request that began at `timestamp`, in nanoseconds since the Unix epoch.
    pub fn init_from_request<'h>(
        &mut self,
        connection: &Connection<'_>,
        timestamp: u64,
        protocol: HttpProtocol,
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) {
        self.init_from_connection(connection, timestamp);
        self.l7 = L7::Http;
        self.protocol = protocol.into();
        self.request_headers(headers);
    }

    /// Takes over what policy or a route changed since. An identity of 0 and an empty address change nothing.
    pub fn update_from_request<'h>(
        &mut self,
        destination_identity: u32,
        destination_address: &str,
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) {
        if destination_identity != 0 {
            self.destination_identity = destination_identity;
        }
        if !destination_address.is_empty() {
            replace(&mut self.destination_address, destination_address.as_bytes());
        }
        self.l7 = L7::Http;
        self.request_headers(headers);
    }

    /// Turns the entry into that of the response seen at `timestamp`, in nanoseconds since the Unix epoch.
    ///
    /// The request's "x-request-id" comes first and is not repeated when the response carries the same one.
    pub fn update_from_response<'h>(
        &mut self,
        timestamp: u64,
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) {
        self.timestamp = timestamp;
        self.l7 = L7::Http;
        self.headers.clear();
        if !self.request_id.is_empty() {
            wire::key_value(&mut self.headers, field::http::HEADERS, REQUEST_ID, &self.request_id);
        }
        let mut later = None;
        for (name, value) in headers {
            if name == b":status" {
                if let Some(status) = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
                    self.status = status;
                }
                continue;
            }
            if name == REQUEST_ID {
                let value = wire::text(value);
                if *value == *self.request_id {
                    continue;
                }
                if later.is_none() {
                    later = Some(value.into_owned());
                }
            }
            wire::key_value(&mut self.headers, field::http::HEADERS, name, value);
        }
        if let (true, Some(later)) = (self.request_id.is_empty(), later) {
            self.request_id = later;
        }
    }

    /// A header that a rule wanted and did not find. The same pair is kept once.
    pub fn add_missing(&mut self, name: &[u8], value: &[u8]) {
        self.add_finding(field::http::MISSING, name, value);
    }

    /// A header with a value that no rule allows. The same pair is kept once.
    pub fn add_rejected(&mut self, name: &[u8], value: &[u8]) {
        self.add_finding(field::http::REJECTED, name, value);
    }

    /// Another policy was asked than the one the entry began with.
    pub fn set_policy_name(&mut self, name: &str) {
        replace(&mut self.policy_name, name.as_bytes());
    }

    /// The rule that decided or, for a denial, the reason.
    pub fn set_rule(&mut self, rule: &str) {
        replace(&mut self.rule_ref, rule.as_bytes());
    }

    /// Takes over what the parser of `protocol` reports; true when it differs from what the entry held.
    ///
    /// Values are JSON, as Envoy's dynamic metadata prints. Keep the order of the fields from call to call.
    pub fn update_from_metadata<'f>(
        &mut self,
        protocol: &str,
        fields: impl IntoIterator<Item = (&'f str, &'f str)>,
    ) -> bool {
        let mut generic = Vec::with_capacity(self.generic.len());
        wire::string(&mut generic, field::l7::PROTO, protocol.as_bytes());
        for (name, value) in fields {
            wire::key_value(&mut generic, field::l7::FIELDS, name.as_bytes(), value.as_bytes());
        }
        let changed = self.l7 != L7::Generic || self.generic != generic;
        self.l7 = L7::Generic;
        self.generic = generic;
        changed
    }

    /// Takes over what the parser of Kafka reports.
    pub fn set_kafka(&mut self, kafka: &KafkaLogEntry) {
        self.l7 = L7::Kafka;
        self.generic = kafka.encode_to_vec();
    }

    /// Whether a request or denied entry was made of this already.
    #[must_use]
    pub fn request_logged(&self) -> bool {
        self.request_logged
    }

    /// Notes that an entry of that type was made, without making it.
    pub(crate) fn mark_logged(&mut self, kind: EntryType) {
        if kind != EntryType::Response {
            self.request_logged = true;
        }
    }

    /// Appends the entry to `out` as a serialised `cilium.LogEntry`, of any size.
    pub fn encode(&mut self, kind: EntryType, out: &mut Vec<u8>) {
        self.mark_logged(kind);
        wire::number(out, field::TIMESTAMP, self.timestamp);
        wire::number(out, field::ENTRY_TYPE, enum_value(kind.into()));
        wire::string(out, field::POLICY_NAME, &self.policy_name);
        wire::string(out, field::RULE_REF, &self.rule_ref);
        wire::number(out, field::SOURCE_ID, self.source_identity.into());
        wire::string(out, field::SOURCE_ADDRESS, &self.source_address);
        wire::string(out, field::DESTINATION_ADDRESS, &self.destination_address);
        wire::number(out, field::IS_INGRESS, self.ingress.into());
        wire::number(out, field::DESTINATION_ID, self.destination_identity.into());
        wire::number(out, field::PROXY_ID, self.proxy_id.into());
        match self.l7 {
            L7::None => {}
            L7::Http => self.encode_http(out),
            L7::Kafka => {
                wire::delimited(out, field::KAFKA, self.generic.len());
                out.extend_from_slice(&self.generic);
            }
            L7::Generic => {
                wire::delimited(out, field::GENERIC_L7, self.generic.len());
                out.extend_from_slice(&self.generic);
            }
        }
    }

    fn encode_http(&self, out: &mut Vec<u8>) {
        // All tags of `HttpLogEntry` take one byte.
        let number_len = |value: u64| if value == 0 { 0 } else { 1 + wire::varint_len(value) };
        let protocol = enum_value(self.protocol);
        let len = number_len(protocol)
            + number_len(self.status.into())
            + self.request.len()
            + self.headers.len()
            + self.findings.len();
        wire::delimited(out, field::HTTP, len);
        wire::number(out, field::http::PROTOCOL, protocol);
        out.extend_from_slice(&self.request);
        out.extend_from_slice(&self.headers);
        wire::number(out, field::http::STATUS, self.status.into());
        out.extend_from_slice(&self.findings);
    }

    fn request_headers<'h>(&mut self, headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>) {
        let mut identified = false;
        self.headers.clear();
        self.request_id.clear();
        for (name, value) in headers {
            let part = match name {
                b":path" => field::http::PATH,
                b":method" => field::http::METHOD,
                b":authority" => field::http::HOST,
                // Envoy's router sets ":scheme" by the upstream's protocol; the client's is in this header.
                b"x-forwarded-proto" => field::http::SCHEME,
                _ => {
                    if name == REQUEST_ID && !identified {
                        identified = true;
                        replace(&mut self.request_id, &wire::text(value));
                    }
                    wire::key_value(&mut self.headers, field::http::HEADERS, name, value);
                    continue;
                }
            };
            wire::text_field(&mut self.request, part, &wire::text(value));
        }
    }

    fn add_finding(&mut self, list: u32, name: &[u8], value: &[u8]) {
        let start = self.findings.len();
        wire::key_value(&mut self.findings, list, name, value);
        let (known, new) = self.findings.split_at(start);
        // Records start with their list's tag and their length, so equal bytes at a record's start are an equal record.
        if records(known).any(|record| record == new) {
            self.findings.truncate(start);
        }
    }
}

/// Splits encoded length-delimited fields with one-byte tags.
fn records(mut encoded: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut rest = encoded.get(1..)?;
        let len = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
        let (record, next) = encoded.split_at_checked(encoded.len() - rest.len() + len)?;
        encoded = next;
        Some(record)
    })
}

fn replace(text: &mut Vec<u8>, value: &[u8]) {
    text.clear();
    text.extend_from_slice(value);
}

fn enum_value(value: i32) -> u64 {
    // Enums are sign-extended on the wire; these have no negative values.
    u64::from(value.unsigned_abs())
}
