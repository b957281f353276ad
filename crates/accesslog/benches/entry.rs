//! What the access log costs a worker per request: the request entry and the response entry, encoded and sent.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use cilium_accesslog::{Connection, Entry, EntryType, HttpProtocol, Sender};
use criterion::{Criterion, criterion_group, criterion_main};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketType};

const CONNECTION: Connection<'static> = Connection {
    policy_name: "10.0.0.1",
    proxy_id: 42,
    ingress: true,
    source_identity: 16_777_217,
    source_address: "10.0.0.2:45678",
    destination_identity: 0,
    destination_address: "10.0.0.1:80",
};

const REQUEST: &[(&[u8], &[u8])] = &[
    (b":method", b"GET"),
    (b":path", b"/api/v1/things/42"),
    (b":authority", b"api.default.svc.cluster.local"),
    (b":scheme", b"http"),
    (b"x-forwarded-proto", b"http"),
    (b"x-request-id", b"ba41267c-cfc2-4a92-ad3e-cd084ab099b4"),
    (b"user-agent", b"curl/8.5.0"),
    (b"accept", b"*/*"),
];

const RESPONSE: &[(&[u8], &[u8])] = &[
    (b":status", b"200"),
    (b"content-type", b"application/json"),
    (b"content-length", b"1024"),
    (b"date", b"Mon, 23 Nov 2026 10:00:00 GMT"),
    (b"server", b"envoy"),
];

fn entry(criterion: &mut Criterion) {
    let mut entry = Entry::new();
    let mut packet = Vec::new();
    criterion.bench_function("encode_request_and_response", |bencher| {
        bencher.iter(|| {
            entry.init_from_request(&CONNECTION, 1, HttpProtocol::Http11, REQUEST.iter().copied());
            packet.clear();
            entry.encode(EntryType::Request, &mut packet);
            entry.update_from_response(2, RESPONSE.iter().copied());
            packet.clear();
            entry.encode(EntryType::Response, &mut packet);
            black_box(packet.len())
        });
    });

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access_log.sock");
    let mut absent = Sender::new(&path);
    criterion.bench_function("send_without_receiver", |bencher| bencher.iter(|| absent.send(&packet)));
    drop(absent);

    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let mut sender = Sender::new(&path);
    sender.send(&packet).unwrap();
    let receiver = rustix::net::accept(&listener).unwrap();
    let mut buffer = [0; 4096];
    criterion.bench_function("send_and_receive", |bencher| {
        bencher.iter(|| {
            sender.send(&packet).unwrap();
            rustix::net::recv(&receiver, &mut buffer[..], RecvFlags::empty()).unwrap().0
        });
    });
}

criterion_group!(benches, entry);
criterion_main!(benches);
