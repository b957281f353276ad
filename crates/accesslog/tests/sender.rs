//! The sender with real sockets: receivers that are absent, slow, gone and back.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cilium_accesslog::{Connection, Dropped, Entry, EntryType, HttpProtocol, LogEntry, MARK, MAX_PACKET, Sender};
use cilium_proto::cilium::log_entry::L7;
use cilium_proto::cilium::{HttpLogEntry, KafkaLogEntry, KeyValue, L7LogEntry};
use proptest::prelude::*;
use prost::Message;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};

fn listen(path: &Path, backlog: i32) -> OwnedFd {
    let _ = std::fs::remove_file(path);
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&socket, backlog).unwrap();
    socket
}

fn accept(listener: &OwnedFd) -> OwnedFd {
    rustix::net::accept(listener).unwrap()
}

fn receive(socket: &OwnedFd) -> Vec<u8> {
    // One byte more than a packet may have shows one that is too long.
    let mut packet = vec![0; MAX_PACKET + 1];
    let (len, _) = rustix::net::recv(socket, &mut packet[..], RecvFlags::empty()).unwrap();
    packet.truncate(len);
    packet
}

fn encoded(entry: &mut Entry, kind: EntryType) -> Vec<u8> {
    let mut encoded = Vec::new();
    entry.encode(kind, &mut encoded);
    encoded
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access_log.sock");
    (directory, path)
}

/// Sends until the receiver that is there now got it: the next attempt to connect may not be due yet.
fn send_until_connected(sender: &mut Sender, packet: &[u8]) {
    while sender.send(packet).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_entry_is_one_packet() {
    let (_directory, path) = directory();
    let listener = listen(&path, 4);
    let mut sender = Sender::new(&path);
    let mut entry = Entry::new();
    let headers = [(&b":path"[..], &b"/"[..])];
    entry.init_from_request(&Connection::default(), 1, HttpProtocol::Http11, headers);
    sender.send(&encoded(&mut entry, EntryType::Request)).unwrap();
    entry.update_from_response(2, [(&b":status"[..], &b"200"[..])]);
    sender.send(&encoded(&mut entry, EntryType::Response)).unwrap();

    let receiver = accept(&listener);
    let first = LogEntry::decode(receive(&receiver).as_slice()).unwrap();
    assert_eq!((first.entry_type(), first.timestamp), (EntryType::Request, 1));
    let second = LogEntry::decode(receive(&receiver).as_slice()).unwrap();
    assert_eq!((second.entry_type(), second.timestamp), (EntryType::Response, 2));
    let stats = sender.stats();
    assert_eq!((stats.sent, stats.connects, stats.dropped()), (2, 1, 0));
}

#[test]
fn without_receiver_entries_are_dropped_as_absent() {
    let (_directory, path) = directory();
    let mut sender = Sender::new(&path);
    for _ in 0..3 {
        assert_eq!(sender.send(b""), Err(Dropped::Absent));
    }
    assert_eq!(sender.stats().absent, 3);
}

#[test]
fn a_socket_that_nobody_listens_on_is_absent_too() {
    let (_directory, path) = directory();
    drop(listen(&path, 1));
    assert_eq!(Sender::new(&path).send(b"x"), Err(Dropped::Absent));
}

#[test]
fn a_path_too_long_for_a_socket_fails() {
    let mut sender = Sender::new(Path::new(&format!("/{}", "x".repeat(200))));
    assert_eq!(sender.send(b"x"), Err(Dropped::Failed));
}

#[test]
fn a_slow_receiver_loses_entries_and_gets_later_ones() {
    let (_directory, path) = directory();
    let listener = listen(&path, 1);
    let mut sender = Sender::new(&path);
    let packet = [0; 1000];
    let mut sent = 0_u32;
    let dropped = loop {
        match sender.send(&packet) {
            Ok(()) => sent += 1,
            Err(reason) => break reason,
        }
    };
    assert_eq!(dropped, Dropped::Full);
    let receiver = accept(&listener);
    for _ in 0..sent {
        assert_eq!(receive(&receiver).len(), packet.len());
    }
    assert_eq!(sender.send(b"later"), Ok(()));
    assert_eq!(receive(&receiver), b"later");
    assert_eq!((sender.stats().full, sender.stats().connects), (1, 1));
}

#[test]
fn a_full_backlog_is_not_waited_for() {
    let (_directory, path) = directory();
    let listener = listen(&path, 0);
    let address = SocketAddrUnix::new(&path).unwrap();
    let flags = SocketFlags::NONBLOCK;
    let mut waiting = Vec::new();
    loop {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        if rustix::net::connect(&socket, &address).is_err() {
            break;
        }
        waiting.push(socket);
    }
    let mut sender = Sender::new(&path);
    assert_eq!(sender.send(b"x"), Err(Dropped::Full));
    drop(listener);
}

#[test]
fn a_receiver_that_comes_back_gets_entries_again() {
    let (_directory, path) = directory();
    let listener = listen(&path, 4);
    let mut sender = Sender::new(&path);
    sender.send(b"one").unwrap();
    let receiver = accept(&listener);
    assert_eq!(receive(&receiver), b"one");

    drop((receiver, listener));
    assert_eq!(sender.send(b"lost"), Err(Dropped::Absent));

    let listener = listen(&path, 4);
    send_until_connected(&mut sender, b"two");
    assert_eq!(receive(&accept(&listener)), b"two");
    assert_eq!(sender.stats().connects, 2);
}

#[test]
fn an_entry_outlives_a_receiver_that_restarted_in_between() {
    let (_directory, path) = directory();
    let listener = listen(&path, 4);
    let mut sender = Sender::new(&path);
    sender.send(b"one").unwrap();
    drop((accept(&listener), listener));
    let listener = listen(&path, 4);
    assert_eq!(sender.send(b"two"), Ok(()));
    assert_eq!(receive(&accept(&listener)), b"two");
}

fn pair(key: &str, value: String) -> KeyValue {
    KeyValue { key: key.to_owned(), value }
}

fn through_socket(entry: &LogEntry) -> LogEntry {
    let (_directory, path) = directory();
    let listener = listen(&path, 4);
    let mut sender = Sender::new(&path);
    sender.send(&entry.encode_to_vec()).unwrap();
    let packet = receive(&accept(&listener));
    assert!(packet.len() <= MAX_PACKET, "{} bytes", packet.len());
    let trimmed = u64::from(entry.encoded_len() > MAX_PACKET);
    assert_eq!((sender.stats().sent, sender.stats().trimmed), (1, trimmed));
    LogEntry::decode(packet.as_slice()).unwrap()
}

#[test]
fn an_entry_of_exactly_a_packet_is_left_alone() {
    let mut entry = LogEntry { policy_name: "p".repeat(MAX_PACKET - 3), ..LogEntry::default() };
    assert_eq!(entry.encoded_len(), MAX_PACKET);
    assert_eq!(through_socket(&entry), entry);
    entry.policy_name.push('p');
    let cut = through_socket(&entry).policy_name.len();
    assert!((4000..MAX_PACKET - 3).contains(&cut), "{cut}");
}

#[test]
fn header_values_are_cut_from_the_end_and_the_entry_is_marked() {
    let http = HttpLogEntry {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        headers: vec![
            pair("first", "1".repeat(2000)),
            pair("second", "2".repeat(3000)),
            pair("x-request-id", "id".to_owned()),
        ],
        ..HttpLogEntry::default()
    };
    let entry = LogEntry { timestamp: 1, l7: Some(L7::Http(http)), ..LogEntry::default() };
    let size = entry.encoded_len();
    let Some(L7::Http(http)) = through_socket(&entry).l7 else { panic!("no HTTP") };
    let expected = [
        pair("first", "1".repeat(2000)),
        pair("second", String::new()),
        pair("x-request-id", "id".to_owned()),
        pair(MARK, size.to_string()),
    ];
    assert_eq!(http.headers, expected);
    assert_eq!((&*http.method, &*http.path), ("GET", "/"));
}

#[test]
fn a_long_path_keeps_its_beginning() {
    let http = HttpLogEntry { path: format!("/{}", "é".repeat(5000)), ..HttpLogEntry::default() };
    let entry = LogEntry { l7: Some(L7::Http(http)), ..LogEntry::default() };
    let Some(L7::Http(http)) = through_socket(&entry).l7 else { panic!("no HTTP") };
    assert!(http.path.len() > 3900 && http.path.starts_with("/éé"), "{}", http.path.len());
}

#[test]
fn generic_fields_lose_their_largest_values() {
    let fields = [("small", 10), ("large", 4000), ("medium", 100)];
    let fields = fields.map(|(name, len)| (name.to_owned(), "v".repeat(len))).into();
    let l7 = L7::GenericL7(L7LogEntry { proto: "mongo".to_owned(), fields });
    let entry = LogEntry { l7: Some(l7), ..LogEntry::default() };
    assert!(entry.encoded_len() > MAX_PACKET);
    let Some(L7::GenericL7(l7)) = through_socket(&entry).l7 else { panic!("no L7") };
    assert_eq!((&*l7.fields["small"], l7.fields["medium"].len(), &*l7.fields["large"]), ("vvvvvvvvvv", 100, ""));
    assert_eq!(l7.fields[MARK], entry.encoded_len().to_string());
}

#[test]
fn kafka_topics_are_cut_from_the_end() {
    let topics = (0..1000).map(|number| format!("topic-{number}")).collect();
    let l7 = L7::Kafka(KafkaLogEntry { api_key: 1, topics, ..KafkaLogEntry::default() });
    let Some(L7::Kafka(kafka)) = through_socket(&LogEntry { l7: Some(l7), ..LogEntry::default() }).l7 else {
        panic!("no Kafka")
    };
    assert_eq!((&*kafka.topics[0], kafka.topics.last().unwrap().as_str()), ("topic-0", MARK));
}

#[test]
fn what_cannot_be_cut_is_dropped_as_oversized() {
    let (_directory, path) = directory();
    let _listener = listen(&path, 4);
    let mut sender = Sender::new(&path);
    assert_eq!(sender.send(&[0xff; MAX_PACKET + 1]), Err(Dropped::Oversized));
    assert_eq!(sender.stats().oversized, 1);
}

fn pairs() -> impl Strategy<Value = Vec<KeyValue>> {
    let pair = ("\\PC{0,30}|[a-z]{200,300}", "\\PC{0,60}|[é]{0,2000}").prop_map(|(key, value)| KeyValue { key, value });
    proptest::collection::vec(pair, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_entry_fits_and_keeps_its_identity(
        lists in (pairs(), pairs(), pairs()),
        texts in ("/[a-z]{0,6000}", "[a-z]{0,300}", "\\PC{0,3000}"),
        many in 0..2000_usize,
    ) {
        let mut headers = lists.0;
        headers.extend((0..many).map(|number| pair(&format!("x-{number}"), String::new())));
        let entry = LogEntry {
            timestamp: 5,
            source_security_id: 7,
            destination_security_id: 8,
            source_address: "1.2.3.4:5".to_owned(),
            policy_name: "10.0.0.1".to_owned(),
            cilium_rule_ref: texts.2,
            l7: Some(L7::Http(HttpLogEntry {
                method: "GET".to_owned(),
                path: texts.0.clone(),
                host: texts.1,
                status: 200,
                headers,
                missing_headers: lists.1,
                rejected_headers: lists.2,
                ..HttpLogEntry::default()
            })),
            ..LogEntry::default()
        };
        let cut = through_socket(&entry);
        prop_assert_eq!((cut.timestamp, cut.source_security_id, cut.destination_security_id), (5, 7, 8));
        prop_assert_eq!((cut.source_address.as_str(), cut.policy_name.as_str()), ("1.2.3.4:5", "10.0.0.1"));
        let Some(L7::Http(http)) = &cut.l7 else { panic!("no HTTP") };
        prop_assert_eq!((http.method.as_str(), http.status), ("GET", 200));
        prop_assert!(texts.0.starts_with(&http.path));
        let marked = http.headers.iter().any(|pair| pair.key == MARK);
        prop_assert_eq!(marked, entry.encoded_len() > MAX_PACKET);
    }
}
