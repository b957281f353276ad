//! The line format of `hubble observe`, with the reason of a denial behind it.

mod in_flight;
mod stamp;

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::compact::in_flight::InFlight;
use cilium_proto::cilium::log_entry::L7;
use cilium_proto::cilium::{EntryType, HttpLogEntry, KafkaLogEntry, L7LogEntry, LogEntry};

use crate::names::Names;
use crate::printable;

const REQUEST_ID: &str = "x-request-id";

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// Prints entries in Hubble's compact format, in UTC. Keeps the time of requests, so use one for a whole log.
///
/// Source: hubble/pkg/printer in cilium/cilium. A response has its arrow turned round rather than its ends; its latency is
/// left out when the request was not seen, or carries no "x-request-id".
#[derive(Debug, Default)]
pub struct Compact {
    in_flight: InFlight,
}

impl Compact {
    /// Appends the line of the entry, without its end.
    pub fn print(&mut self, entry: &LogEntry, names: &Names, out: &mut String) {
        let start = out.len();
        let (response, denied) = (is_response(entry), entry.entry_type() == EntryType::Denied);
        stamp::print(entry.timestamp, out);
        out.push_str(": ");
        out.push_str(address(&entry.source_address));
        out.push_str(" (");
        names.source(entry, out);
        out.push_str(if response { ") <- " } else { ") -> " });
        out.push_str(address(&entry.destination_address));
        out.push_str(" (");
        names.destination(entry, out);
        out.push_str(") ");
        let verdict = if denied { "DROPPED" } else { "FORWARDED" };
        let step = if response { "response" } else { "request" };
        match &entry.l7 {
            None => write(out, format_args!("connection {verdict} (TCP")),
            Some(L7::Http(http)) => {
                write(out, format_args!("http-{step} {verdict} ("));
                self.http(entry, http, out);
            }
            Some(L7::Kafka(kafka)) => {
                write(out, format_args!("kafka-{step} {verdict} (Kafka {step} "));
                print_kafka(kafka, out);
            }
            Some(L7::GenericL7(generic)) => {
                write(out, format_args!("l7-{step} {verdict} ("));
                print_generic(generic, out);
            }
        }
        out.push(')');
        if denied && !entry.cilium_rule_ref.is_empty() {
            out.push_str(": ");
            names.reason(&entry.cilium_rule_ref, out);
        }
        printable::escape_from(out, start);
    }

    fn http(&mut self, entry: &LogEntry, http: &HttpLogEntry, out: &mut String) {
        match http.http_protocol {
            0 => out.push_str("HTTP/1.0 "),
            1 => out.push_str("HTTP/1.1 "),
            2 => out.push_str("HTTP/2 "),
            unknown => write(out, format_args!("HTTP/{unknown} ")),
        }
        let id = http.headers.iter().find(|header| header.key == REQUEST_ID).map_or("", |header| &header.value);
        if !is_response(entry) {
            if !id.is_empty() {
                self.in_flight.begin(id, entry.timestamp);
            }
            print_request(http, out);
            return;
        }
        write(out, format_args!("{} ", http.status));
        // A clock that was set back gives no latency.
        if let Some(latency) = self.in_flight.end(id).and_then(|began| entry.timestamp.checked_sub(began)) {
            write(out, format_args!("{}ms ", latency / NANOSECONDS_PER_MILLISECOND));
        }
        out.push('(');
        print_request(http, out);
        out.push(')');
    }
}

fn is_response(entry: &LogEntry) -> bool {
    entry.entry_type() == EntryType::Response
}

fn address(address: &str) -> &str {
    if address.is_empty() { "?" } else { address }
}

fn print_request(http: &HttpLogEntry, out: &mut String) {
    out.push_str(&http.method);
    out.push(' ');
    out.push_str(if http.scheme.is_empty() { "http" } else { &http.scheme });
    out.push_str("://");
    out.push_str(&http.host);
    out.push_str(&http.path);
}

fn print_kafka(kafka: &KafkaLogEntry, out: &mut String) {
    write(out, format_args!("key {}", kafka.api_key));
    for topic in &kafka.topics {
        write(out, format_args!(" topic '{topic}'"));
    }
}

fn print_generic(generic: &L7LogEntry, out: &mut String) {
    out.push_str(&generic.proto);
    for (name, value) in sorted(&generic.fields) {
        write(out, format_args!(" {name}={value}"));
    }
}

/// By name.
pub(crate) fn sorted(fields: &HashMap<String, String>) -> Vec<(&String, &String)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_unstable();
    fields
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(text);
}
