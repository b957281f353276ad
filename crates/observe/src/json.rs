//! Protobuf's JSON form of an entry.

use std::fmt::Write as _;

use cilium_proto::cilium::log_entry::L7;
use cilium_proto::cilium::{EntryType, HttpLogEntry, HttpProtocol, KafkaLogEntry, KeyValue, L7LogEntry, LogEntry};

use crate::compact::sorted;

/// Appends the entry as a JSON object, without a line end.
///
/// Keys are the JSON names of the fields, sorted and always the same: fields without a value are there too, with their
/// default. 64-bit numbers (`timestamp`) are strings, as protobuf's JSON form has it.
pub fn print(entry: &LogEntry, out: &mut String) {
    text(out, r#"{"ciliumRuleRef":"#, &entry.cilium_rule_ref);
    text(out, r#","destinationAddress":"#, &entry.destination_address);
    number(out, r#","destinationSecurityId":"#, entry.destination_security_id);
    name(
        out,
        r#","entryType":"#,
        EntryType::try_from(entry.entry_type).ok().map(|kind| kind.as_str_name()),
        entry.entry_type,
    );
    match &entry.l7 {
        Some(L7::Http(http)) => print_http(http, out),
        Some(L7::GenericL7(generic)) => print_generic(generic, out),
        // Behind "isIngress".
        Some(L7::Kafka(_)) | None => {}
    }
    out.push_str(if entry.is_ingress { r#","isIngress":true"# } else { r#","isIngress":false"# });
    if let Some(L7::Kafka(kafka)) = &entry.l7 {
        print_kafka(kafka, out);
    }
    text(out, r#","policyName":"#, &entry.policy_name);
    number(out, r#","proxyId":"#, entry.proxy_id);
    text(out, r#","sourceAddress":"#, &entry.source_address);
    number(out, r#","sourceSecurityId":"#, entry.source_security_id);
    number(out, r#","timestamp":""#, entry.timestamp);
    out.push_str("\"}");
}

fn print_http(http: &HttpLogEntry, out: &mut String) {
    pairs(out, r#","http":{"headers":"#, &http.headers);
    text(out, r#","host":"#, &http.host);
    name(
        out,
        r#","httpProtocol":"#,
        HttpProtocol::try_from(http.http_protocol).ok().map(|protocol| protocol.as_str_name()),
        http.http_protocol,
    );
    text(out, r#","method":"#, &http.method);
    pairs(out, r#","missingHeaders":"#, &http.missing_headers);
    text(out, r#","path":"#, &http.path);
    pairs(out, r#","rejectedHeaders":"#, &http.rejected_headers);
    text(out, r#","scheme":"#, &http.scheme);
    number(out, r#","status":"#, http.status);
    out.push('}');
}

fn print_kafka(kafka: &KafkaLogEntry, out: &mut String) {
    number(out, r#","kafka":{"apiKey":"#, kafka.api_key);
    number(out, r#","apiVersion":"#, kafka.api_version);
    number(out, r#","correlationId":"#, kafka.correlation_id);
    number(out, r#","errorCode":"#, kafka.error_code);
    out.push_str(r#","topics":["#);
    for (index, topic) in kafka.topics.iter().enumerate() {
        text(out, if index == 0 { "" } else { "," }, topic);
    }
    out.push_str("]}");
}

fn print_generic(generic: &L7LogEntry, out: &mut String) {
    out.push_str(r#","genericL7":{"fields":{"#);
    for (index, (key, value)) in sorted(&generic.fields).into_iter().enumerate() {
        text(out, if index == 0 { "" } else { "," }, key);
        text(out, ":", value);
    }
    text(out, r#"},"proto":"#, &generic.proto);
    out.push('}');
}

fn pairs(out: &mut String, before: &str, pairs: &[KeyValue]) {
    out.push_str(before);
    out.push('[');
    for (index, pair) in pairs.iter().enumerate() {
        text(out, if index == 0 { r#"{"key":"# } else { r#",{"key":"# }, &pair.key);
        text(out, r#","value":"#, &pair.value);
        out.push('}');
    }
    out.push(']');
}

fn number(out: &mut String, before: &str, value: impl std::fmt::Display) {
    // Writing to a String does not fail.
    let _ = write!(out, "{before}{value}");
}

/// The name of an enum's value, or the number that has none.
fn name(out: &mut String, before: &str, name: Option<&str>, value: i32) {
    match name {
        Some(name) => text(out, before, name),
        None => number(out, before, value),
    }
}

fn text(out: &mut String, before: &str, mut value: &str) {
    out.push_str(before);
    out.push('"');
    // All that is escaped is ASCII.
    while let Some(at) = value.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        out.push_str(&value[..at]);
        match value.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => number(out, "\\u", format_args!("{control:04x}")),
        }
        value = &value[at + 1..];
    }
    out.push_str(value);
    out.push('"');
}
