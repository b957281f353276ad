//! Entries decode to what the reference's access log holds after the same calls.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use cilium_accesslog::{Connection, Entry, EntryType, HttpProtocol, LogEntry};
use cilium_proto::cilium::log_entry::L7;
use cilium_proto::cilium::{HttpLogEntry, KafkaLogEntry, KeyValue, L7LogEntry};
use proptest::prelude::*;
use prost::Message;

const CONNECTION: Connection<'static> = Connection {
    policy_name: "1.2.3.4",
    proxy_id: 42,
    ingress: true,
    source_identity: 1,
    source_address: "5.6.7.8:45678",
    destination_identity: 173,
    destination_address: "1.2.3.4:80",
};

const REQUEST: &[(&str, &str)] = &[
    (":method", "GET"),
    (":path", "/"),
    (":authority", "host"),
    ("x-forwarded-proto", "http"),
    ("x-request-id", "ba41267c-cfc2-4a92-ad3e-cd084ab099b4"),
];

fn bytes<'h>(headers: &'h [(&'h str, &'h str)]) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn request() -> Entry {
    let mut entry = Entry::new();
    entry.init_from_request(&CONNECTION, 7, HttpProtocol::Http11, bytes(REQUEST));
    entry
}

fn decode(entry: &mut Entry, kind: EntryType) -> LogEntry {
    let mut encoded = Vec::new();
    entry.encode(kind, &mut encoded);
    LogEntry::decode(encoded.as_slice()).unwrap()
}

fn http(entry: &LogEntry) -> &HttpLogEntry {
    let Some(L7::Http(http)) = &entry.l7 else { panic!("not HTTP: {entry:?}") };
    http
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

#[test]
fn a_request_entry_holds_connection_and_headers() {
    let entry = decode(&mut request(), EntryType::Denied);
    let expected = LogEntry {
        timestamp: 7,
        is_ingress: true,
        entry_type: EntryType::Denied.into(),
        policy_name: "1.2.3.4".to_owned(),
        proxy_id: 42,
        source_security_id: 1,
        destination_security_id: 173,
        source_address: "5.6.7.8:45678".to_owned(),
        destination_address: "1.2.3.4:80".to_owned(),
        l7: Some(L7::Http(HttpLogEntry {
            http_protocol: HttpProtocol::Http11.into(),
            scheme: "http".to_owned(),
            host: "host".to_owned(),
            path: "/".to_owned(),
            method: "GET".to_owned(),
            headers: vec![pair("x-request-id", "ba41267c-cfc2-4a92-ad3e-cd084ab099b4")],
            ..HttpLogEntry::default()
        })),
        ..LogEntry::default()
    };
    assert_eq!(entry, expected);
}

#[test]
fn a_kafka_entry_holds_what_its_parser_reports() {
    let kafka = KafkaLogEntry {
        correlation_id: 7,
        error_code: -1,
        api_version: 2,
        api_key: 3,
        topics: vec!["orders".to_owned(), "returns".to_owned()],
    };
    let mut entry = Entry::new();
    entry.init_from_connection(&CONNECTION, 7);
    entry.set_kafka(&kafka);
    assert_eq!(decode(&mut entry, EntryType::Denied).l7, Some(L7::Kafka(kafka)));
}

#[test]
fn a_response_entry_keeps_the_request_and_its_id() {
    let mut entry = request();
    entry.add_missing(b"x-wanted", b"");
    entry.update_from_response(9, bytes(&[("my-response-header", "response")]));
    let entry = decode(&mut entry, EntryType::Response);
    assert_eq!(entry.timestamp, 9);
    let http = http(&entry);
    assert_eq!((&*http.method, &*http.path, &*http.host, &*http.scheme), ("GET", "/", "host", "http"));
    assert_eq!(
        http.headers,
        [pair("x-request-id", "ba41267c-cfc2-4a92-ad3e-cd084ab099b4"), pair("my-response-header", "response")]
    );
    assert_eq!(http.missing_headers, [pair("x-wanted", "")]);
    assert_eq!(http.status, 0);
}

#[test]
fn an_equal_request_id_of_the_response_is_not_repeated_and_another_one_is_added() {
    let mut entry = request();
    entry.update_from_response(
        9,
        bytes(&[
            (":status", "503"),
            ("x-request-id", "ba41267c-cfc2-4a92-ad3e-cd084ab099b4"),
            ("x-request-id", "other"),
        ]),
    );
    let entry = decode(&mut entry, EntryType::Response);
    assert_eq!(http(&entry).status, 503);
    assert_eq!(
        http(&entry).headers,
        [pair("x-request-id", "ba41267c-cfc2-4a92-ad3e-cd084ab099b4"), pair("x-request-id", "other")]
    );
}

#[test]
fn a_status_that_is_no_number_is_left_out() {
    let mut entry = request();
    entry.update_from_response(9, bytes(&[(":status", "teapot")]));
    assert_eq!(http(&decode(&mut entry, EntryType::Response)).status, 0);
}

#[test]
fn an_update_replaces_headers_and_keeps_an_unknown_destination() {
    let mut entry = request();
    entry.update_from_request(0, "", bytes(&[(":path", "/new"), ("a", "b")]));
    let unchanged = decode(&mut entry, EntryType::Request);
    assert_eq!((unchanged.destination_security_id, &*unchanged.destination_address), (173, "1.2.3.4:80"));
    assert_eq!((&*http(&unchanged).path, &*http(&unchanged).method), ("/new", "GET"));
    assert_eq!(http(&unchanged).headers, [pair("a", "b")]);

    entry.update_from_request(5, "[f00d::1]:443", bytes(REQUEST));
    let changed = decode(&mut entry, EntryType::Request);
    assert_eq!((changed.destination_security_id, &*changed.destination_address), (5, "[f00d::1]:443"));
}

#[test]
fn a_finding_is_kept_once_per_list() {
    let mut entry = request();
    for _ in 0..2 {
        entry.add_rejected(b"x", b"1");
        entry.add_missing(b"x", b"1");
        entry.add_rejected(b"x", b"2");
    }
    let entry = decode(&mut entry, EntryType::Request);
    assert_eq!(http(&entry).rejected_headers, [pair("x", "1"), pair("x", "2")]);
    assert_eq!(http(&entry).missing_headers, [pair("x", "1")]);
}

#[test]
fn header_bytes_that_are_no_utf8_are_replaced() {
    let mut entry = Entry::new();
    entry.init_from_request(
        &CONNECTION,
        7,
        HttpProtocol::Http2,
        [(&b":path"[..], &b"/\xff"[..]), (&b"x-evil"[..], &b"a\xc3"[..])],
    );
    let entry = decode(&mut entry, EntryType::Denied);
    assert_eq!(http(&entry).path, "/\u{fffd}");
    assert_eq!(http(&entry).headers, [pair("x-evil", "a\u{fffd}")]);
}

#[test]
fn a_connection_has_no_l7_part_and_names_the_rule() {
    let mut entry = request();
    entry.init_from_connection(&CONNECTION, 3);
    entry.set_rule("no rule allows identity 1");
    let entry = decode(&mut entry, EntryType::Denied);
    assert_eq!(entry.l7, None);
    assert_eq!(entry.cilium_rule_ref, "no rule allows identity 1");
}

#[test]
fn a_request_is_logged_once_a_request_or_denied_entry_was_made() {
    let mut entry = request();
    assert!(!entry.request_logged());
    decode(&mut entry, EntryType::Response);
    assert!(!entry.request_logged());
    decode(&mut entry, EntryType::Denied);
    assert!(entry.request_logged());
    entry.init_from_connection(&CONNECTION, 3);
    assert!(!entry.request_logged());
}

#[test]
fn metadata_tells_whether_it_changed() {
    let mut entry = Entry::new();
    entry.init_from_connection(&CONNECTION, 3);
    assert!(entry.update_from_metadata("mongo", [("operations", "[\"find\"]")]));
    assert!(!entry.update_from_metadata("mongo", [("operations", "[\"find\"]")]));
    assert!(entry.update_from_metadata("mongo", [("operations", "[\"insert\"]"), ("db", "\"a\"")]));
    let entry = decode(&mut entry, EntryType::Request);
    let fields = [("operations", "[\"insert\"]"), ("db", "\"a\"")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(entry.l7, Some(L7::GenericL7(L7LogEntry { proto: "mongo".to_owned(), fields })));
}

/// The reference's rules, over prost messages.
#[derive(Default)]
struct Model(LogEntry);

impl Model {
    fn http(&mut self) -> &mut HttpLogEntry {
        if !matches!(self.0.l7, Some(L7::Http(_))) {
            self.0.l7 = Some(L7::Http(HttpLogEntry::default()));
        }
        let Some(L7::Http(http)) = &mut self.0.l7 else { unreachable!() };
        http
    }

    fn request(&mut self, headers: &[(Vec<u8>, Vec<u8>)]) {
        let http = self.http();
        http.headers.clear();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value).into_owned();
            match name.as_slice() {
                b":path" => http.path = value,
                b":method" => http.method = value,
                b":authority" => http.host = value,
                b"x-forwarded-proto" => http.scheme = value,
                _ => http.headers.push(KeyValue { key: String::from_utf8_lossy(name).into_owned(), value }),
            }
        }
    }

    fn response(&mut self, headers: &[(Vec<u8>, Vec<u8>)]) {
        let http = self.http();
        let id = http.headers.iter().find(|pair| pair.key == "x-request-id").map(|pair| pair.value.clone());
        let id = id.unwrap_or_default();
        http.headers.clear();
        if !id.is_empty() {
            http.headers.push(KeyValue { key: "x-request-id".to_owned(), value: id.clone() });
        }
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value).into_owned();
            if name == b":status" {
                if let Ok(status) = value.trim().parse() {
                    http.status = status;
                }
            } else if !(name == b"x-request-id" && value == id) {
                http.headers.push(KeyValue { key: String::from_utf8_lossy(name).into_owned(), value });
            }
        }
    }

    fn finding(&mut self, missing: bool, name: &[u8], value: &[u8]) {
        let pair = KeyValue {
            key: String::from_utf8_lossy(name).into_owned(),
            value: String::from_utf8_lossy(value).into_owned(),
        };
        let http = self.http();
        let list = if missing { &mut http.missing_headers } else { &mut http.rejected_headers };
        if !list.contains(&pair) {
            list.push(pair);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Update(u32, String, Vec<(Vec<u8>, Vec<u8>)>),
    Response(u64, Vec<(Vec<u8>, Vec<u8>)>),
    Finding(bool, Vec<u8>, Vec<u8>),
    Rule(String),
}

fn headers() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let names = prop_oneof![
        Just(":path"),
        Just(":method"),
        Just(":authority"),
        Just(":status"),
        Just("x-forwarded-proto"),
        Just("x-request-id"),
        Just("accept"),
    ];
    let name = prop_oneof![4 => names.prop_map(|name| name.as_bytes().to_vec()), 1 => any::<Vec<u8>>()];
    let value = prop_oneof![
        Just(b"200".to_vec()),
        Just(Vec::new()),
        "[ab]{1,2}".prop_map(String::into_bytes),
        any::<Vec<u8>>()
    ];
    proptest::collection::vec((name, value), 0..8)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u32, "[0-9.:]{0,12}", headers()).prop_map(|(id, address, headers)| Step::Update(id, address, headers)),
        (any::<u64>(), headers()).prop_map(|(time, headers)| Step::Response(time, headers)),
        (any::<bool>(), "[ab]{0,2}", "[ab]{0,2}").prop_map(|(missing, k, v)| Step::Finding(
            missing,
            k.into(),
            v.into()
        )),
        ".{0,40}".prop_map(Step::Rule),
    ]
}

fn slices(headers: &[(Vec<u8>, Vec<u8>)]) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_calls_decodes_to_the_reference_entry(
        first in headers(),
        steps in proptest::collection::vec(step(), 0..6),
        kind in 0..3_i32,
        names in ("\\PC{0,20}", "\\PC{0,20}", "\\PC{0,200}"),
        ids in (any::<u16>(), any::<u32>(), any::<u32>(), any::<bool>(), any::<u64>()),
    ) {
        let connection = Connection {
            policy_name: &names.0,
            proxy_id: ids.0,
            ingress: ids.3,
            source_identity: ids.1,
            source_address: &names.1,
            destination_identity: ids.2,
            destination_address: &names.2,
        };
        // Initialised twice: nothing of the first life may show.
        let mut entry = request();
        entry.add_missing(b"old", b"old");
        entry.init_from_request(&connection, ids.4, HttpProtocol::Http2, slices(&first));
        let mut model = Model(LogEntry {
            timestamp: ids.4,
            is_ingress: ids.3,
            policy_name: names.0.clone(),
            proxy_id: ids.0.into(),
            source_security_id: ids.1,
            source_address: names.1.clone(),
            destination_security_id: ids.2,
            destination_address: names.2.clone(),
            entry_type: kind,
            ..LogEntry::default()
        });
        model.http().http_protocol = HttpProtocol::Http2.into();
        model.request(&first);
        for step in &steps {
            match step {
                Step::Update(id, address, headers) => {
                    entry.update_from_request(*id, address, slices(headers));
                    if *id != 0 { model.0.destination_security_id = *id; }
                    if !address.is_empty() { model.0.destination_address.clone_from(address); }
                    model.request(headers);
                }
                Step::Response(time, headers) => {
                    entry.update_from_response(*time, slices(headers));
                    model.0.timestamp = *time;
                    model.response(headers);
                }
                Step::Finding(missing, name, value) => {
                    if *missing { entry.add_missing(name, value) } else { entry.add_rejected(name, value) }
                    model.finding(*missing, name, value);
                }
                Step::Rule(rule) => {
                    entry.set_rule(rule);
                    model.0.cilium_rule_ref.clone_from(rule);
                }
            }
        }
        prop_assert_eq!(decode(&mut entry, EntryType::try_from(kind).unwrap()), model.0);
    }
}
