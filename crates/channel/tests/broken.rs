//! The client against a control plane, or a line, that does not keep to the protocol.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod control_plane;

use std::io::Write;

use cilium_channel::{Client, Config, Limits};
use cilium_proto::cilium_proxy::v1::frame::Kind;
use cilium_proto::cilium_proxy::v1::{Commit, Remove, ServerHello, Upsert};

use control_plane::*;

fn empty(version: &'static str) -> Changes {
    Changes { type_url: POLICIES, version, ..Changes::default() }
}

fn upserts(count: usize) -> Changes {
    let upserts = (0..count).map(|number| (number.to_string(), vec![0; 100])).collect();
    Changes { upserts, ..empty("1") }
}

/// Runs `misbehave` on a connection with version "1" in force: the client closes it with an error that has `expected`
/// in it, keeps its state, and works again over a new connection.
fn ends_the_connection(expected: &str, misbehave: impl FnOnce(&mut Connection)) {
    let server = ControlPlane::start();
    let (client, events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&empty("1"));
    misbehave(&mut connection);
    connection.expect_close();
    let error = disconnection(&events);
    assert!(error.contains(expected), "{error}");
    assert_eq!(client.state().policies.version(), "1");
    let mut connection = server.greet();
    connection.accepted(&Changes { delta_from: Some("1"), ..empty("2") });
    assert_eq!(client.state().policies.version(), "2");
}

/// Runs `misbehave` on a connection with version "1" in force: it gets a rejection with `expected` in it, and the
/// connection works on.
fn is_rejected(expected: &str, limits: Limits, misbehave: impl FnOnce(&mut Connection) -> String) {
    let server = ControlPlane::start();
    let config = Config { limits, ..config(&server.path) };
    let client = Client::spawn(config, ()).unwrap();
    let mut connection = server.greet();
    connection.accepted(&empty("1"));
    let detail = misbehave(&mut connection);
    assert!(detail.contains(expected), "{detail}");
    assert_eq!(client.state().policies.version(), "1");
    connection.accepted(&Changes { delta_from: Some("1"), ..empty("2") });
}

#[test]
fn a_frame_over_the_limit_ends_the_connection_before_it_is_read() {
    ends_the_connection("4294967295 bytes", |connection| connection.stream.write_all(&[0xff; 4]).unwrap());
}

#[test]
fn a_frame_that_does_not_parse_ends_the_connection() {
    ends_the_connection("does not parse", |connection| {
        connection.stream.write_all(&[0, 0, 0, 2, 0xff, 0xff]).unwrap();
    });
}

#[test]
fn a_frame_of_unknown_kind_ends_the_connection() {
    ends_the_connection("kind", |connection| connection.stream.write_all(&[0, 0, 0, 0]).unwrap());
}

#[test]
fn a_frame_cut_short_ends_with_the_connection() {
    ends_the_connection("closed", |connection| {
        connection.stream.write_all(&[0, 0, 0, 9, 1]).unwrap();
        connection.stream.shutdown(std::net::Shutdown::Write).unwrap();
    });
}

#[test]
fn a_transaction_cut_short_changes_nothing() {
    ends_the_connection("closed", |connection| {
        let changes = upserts(3);
        connection.begin(&changes);
        connection.changes(&changes);
        connection.stream.shutdown(std::net::Shutdown::Write).unwrap();
    });
}

#[test]
fn an_upsert_outside_of_a_transaction_ends_the_connection() {
    ends_the_connection("an upsert", |connection| connection.send(Kind::Upsert(Upsert::default())));
}

#[test]
fn a_remove_outside_of_a_transaction_ends_the_connection() {
    ends_the_connection("a remove", |connection| connection.send(Kind::Remove(Remove::default())));
}

#[test]
fn a_commit_without_begin_ends_the_connection() {
    ends_the_connection("a commit", |connection| connection.send(Kind::Commit(Commit::default())));
}

#[test]
fn a_begin_within_a_transaction_ends_the_connection() {
    ends_the_connection("a begin", |connection| {
        connection.begin(&empty("2"));
        connection.begin(&empty("2"));
    });
}

#[test]
fn a_commit_of_another_transaction_ends_the_connection() {
    ends_the_connection("commits transaction 77", |connection| {
        connection.begin(&empty("2"));
        connection.send(Kind::Commit(Commit { txn: 77, ..Commit::default() }));
    });
}

#[test]
fn a_second_hello_ends_the_connection() {
    ends_the_connection("a server hello", |connection| {
        connection.send(Kind::ServerHello(ServerHello { protocol: 1, ..ServerHello::default() }));
    });
}

#[test]
fn another_protocol_is_refused() {
    let server = ControlPlane::start();
    let (_client, events) = client(&server.path);
    let mut connection = server.accept();
    connection.send(Kind::ServerHello(ServerHello { protocol: 2, ..ServerHello::default() }));
    let error = disconnection(&events);
    assert!(error.contains("protocol 2"), "{error}");
}

#[test]
fn a_transaction_before_the_hello_is_refused() {
    let server = ControlPlane::start();
    let (_client, events) = client(&server.path);
    let mut connection = server.accept();
    connection.begin(&empty("1"));
    let error = disconnection(&events);
    assert!(error.contains("before its hello"), "{error}");
}

#[test]
fn a_wrong_digest_is_rejected() {
    is_rejected("digest", Limits::default(), |connection| {
        let changes = upserts(1);
        connection.begin(&changes);
        let mut commit = connection.changes(&changes);
        commit.digest[0] ^= 1;
        connection.send(Kind::Commit(commit));
        rejection(connection)
    });
}

#[test]
fn a_wrong_count_is_rejected() {
    is_rejected("announces 2 changes and has 1", Limits::default(), |connection| {
        let changes = upserts(1);
        connection.begin(&changes);
        let mut commit = connection.changes(&changes);
        commit.count += 1;
        connection.send(Kind::Commit(commit));
        rejection(connection)
    });
}

#[test]
fn an_unknown_type_is_rejected() {
    is_rejected("\"type.googleapis.com/x\"", Limits::default(), |connection| {
        connection.rejected(&Changes { type_url: "type.googleapis.com/x", ..empty("2") })
    });
}

#[test]
fn a_name_that_is_changed_twice_is_rejected() {
    is_rejected("\"0\" twice", Limits::default(), |connection| {
        connection.rejected(&Changes { removed: vec!["0".to_owned()], delta_from: Some("1"), ..upserts(1) })
    });
}

#[test]
fn a_removal_in_a_full_transaction_is_rejected() {
    is_rejected("is FULL and removes", Limits::default(), |connection| {
        connection.rejected(&Changes { removed: vec!["7".to_owned()], ..empty("2") })
    });
}

#[test]
fn too_many_changes_are_rejected() {
    is_rejected("more than 3 changes", Limits { count: 3, ..Limits::default() }, |connection| {
        connection.rejected(&upserts(4))
    });
}

#[test]
fn too_many_bytes_are_rejected() {
    is_rejected("more than 1000 bytes", Limits { bytes: 1000, ..Limits::default() }, |connection| {
        connection.rejected(&upserts(10))
    });
}

fn rejection(connection: &mut Connection) -> String {
    match connection.answer() {
        cilium_proto::cilium_proxy::v1::result::Outcome::Rejected(rejected) => rejected.detail,
        answer => panic!("{answer:?}"),
    }
}
