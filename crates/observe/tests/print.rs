//! The two line formats.

use std::collections::HashMap;

use cilium_observe::{Compact, Names, json};
use cilium_proto::cilium::log_entry::L7;
use cilium_proto::cilium::{EntryType, HttpLogEntry, HttpProtocol, KafkaLogEntry, KeyValue, L7LogEntry, LogEntry};

/// 2026-11-23 10:00:00.123 UTC.
const TIME: u64 = 1_795_428_000_123_000_000;

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|&(key, value)| KeyValue { key: key.into(), value: value.into() }).collect()
}

fn http() -> HttpLogEntry {
    HttpLogEntry {
        http_protocol: HttpProtocol::Http11.into(),
        scheme: "https".into(),
        host: "host".into(),
        path: "/path".into(),
        method: "GET".into(),
        ..HttpLogEntry::default()
    }
}

fn entry(l7: impl Into<Option<L7>>) -> LogEntry {
    LogEntry {
        timestamp: TIME,
        is_ingress: true,
        policy_name: "127.0.0.2".into(),
        source_security_id: 258,
        source_address: "127.0.0.3:41234".into(),
        destination_address: "127.0.0.2:8080".into(),
        l7: l7.into(),
        ..LogEntry::default()
    }
}

fn generic(proto: &str, fields: [(&str, &str); 2]) -> L7 {
    let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    L7::GenericL7(L7LogEntry { proto: proto.into(), fields })
}

fn compact(printer: &mut Compact, entry: &LogEntry) -> String {
    let identities = HashMap::from([(258, "xwing".to_owned())]);
    let names = Names::new(identities, HashMap::from([("127.0.0.2".to_owned(), "api".to_owned())]));
    let mut out = String::new();
    printer.print(entry, &names, &mut out);
    out
}

fn to_json(entry: &LogEntry) -> String {
    let mut out = String::new();
    json::print(entry, &mut out);
    out
}

#[test]
fn a_denied_request_has_its_reason_behind_it() {
    let cilium_rule_ref = "no rule allows identity 258".into();
    let entry = LogEntry { entry_type: EntryType::Denied.into(), cilium_rule_ref, ..entry(L7::Http(http())) };
    assert_eq!(
        compact(&mut Compact::default(), &entry),
        "Nov 23 10:00:00.123: 127.0.0.3:41234 (xwing) -> 127.0.0.2:8080 (api) \
         http-request DROPPED (HTTP/1.1 GET https://host/path): no rule allows identity 258 (xwing)"
    );
}

#[test]
fn a_response_turns_the_arrow_and_has_its_latency() {
    let mut printer = Compact::default();
    let headers = pairs(&[("x-request-id", "id")]);
    compact(&mut printer, &entry(L7::Http(HttpLogEntry { headers: headers.clone(), ..http() })));
    let http = L7::Http(HttpLogEntry { headers, status: 200, ..http() });
    let response = LogEntry { timestamp: TIME + 3_900_000, entry_type: EntryType::Response.into(), ..entry(http) };
    assert_eq!(
        compact(&mut printer, &response),
        "Nov 23 10:00:00.126: 127.0.0.3:41234 (xwing) <- 127.0.0.2:8080 (api) \
         http-response FORWARDED (HTTP/1.1 200 3ms (GET https://host/path))"
    );
    // The same response again: its request is not waited for any more.
    assert!(compact(&mut printer, &response).ends_with("(HTTP/1.1 200 (GET https://host/path))"));
}

#[test]
fn other_protocols_show_what_their_parser_reports() {
    let kafka = KafkaLogEntry { api_key: 1, topics: vec!["a".into(), "b".into()], ..KafkaLogEntry::default() };
    for (l7, expected) in [
        (Some(L7::Kafka(kafka)), " kafka-request FORWARDED (Kafka request key 1 topic 'a' topic 'b')"),
        (Some(generic("mongo", [("op", "[2]"), ("db", "x")])), " l7-request FORWARDED (mongo db=x op=[2])"),
        (None, " connection FORWARDED (TCP)"),
    ] {
        let line = compact(&mut Compact::default(), &entry(l7));
        assert!(line.ends_with(expected), "{line}");
    }
}

#[test]
fn a_client_cannot_write_lines_or_move_the_cursor() {
    let http = HttpLogEntry { path: "/a\nb\u{1b}[2J\u{202e}ü".into(), ..http() };
    assert!(compact(&mut Compact::default(), &entry(L7::Http(http))).contains(r"https://host/a\nb\x1b[2J\u202eü)"));
}

#[test]
fn json_has_all_fields_in_the_order_of_their_names() {
    let http = HttpLogEntry { headers: pairs(&[("a", "\"\\\n\u{1}\u{7f}ü"), ("", "")]), ..http() };
    assert_eq!(
        to_json(&entry(L7::Http(http))),
        concat!(
            r#"{"ciliumRuleRef":"","destinationAddress":"127.0.0.2:8080","destinationSecurityId":0,"#,
            r#""entryType":"Request","http":{"headers":[{"key":"a","value":"\"\\\n\u0001"#,
            "\u{7f}",
            r#"ü"},{"key":"","value":""}],"host":"host","httpProtocol":"HTTP11","method":"GET","missingHeaders":[],"#,
            r#""path":"/path","rejectedHeaders":[],"scheme":"https","status":0},"isIngress":true,"#,
            r#""policyName":"127.0.0.2","proxyId":0,"sourceAddress":"127.0.0.3:41234","sourceSecurityId":258,"#,
            r#""timestamp":"1795428000123000000"}"#
        )
    );
}

#[test]
fn json_has_the_numbers_of_values_without_a_name() {
    let kafka = KafkaLogEntry { correlation_id: -1, topics: vec!["a".into(), "b".into()], ..KafkaLogEntry::default() };
    let printed = to_json(&LogEntry { entry_type: 7, ..entry(L7::Kafka(kafka)) });
    assert!(printed.contains(r#""entryType":7,"isIngress""#), "{printed}");
    assert!(
        printed.contains(
            r#""kafka":{"apiKey":0,"apiVersion":0,"correlationId":-1,"errorCode":0,"topics":["a","b"]},"policyName""#
        ),
        "{printed}"
    );
    let printed = to_json(&entry(generic("p", [("b", "1"), ("a", "2")])));
    assert!(printed.contains(r#""genericL7":{"fields":{"a":"2","b":"1"},"proto":"p"},"isIngress""#), "{printed}");
}
