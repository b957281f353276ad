use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::record::{EntryType, L7, Record};
use crate::request::{Decision, Request};

fn info() -> ConnectionInfo {
    ConnectionInfo::new(true, (1, 2), "1.1.1.1:1000", "2.2.2.2:80", "2.2.2.2").unwrap()
}

fn connection(parser: &str, limits: Limits) -> Connection {
    Connection::new(parser, info(), &Shared::default(), limits).unwrap()
}

fn feed(connection: &mut Connection, reply: bool, data: &[u8]) -> Result<Forward, Closed> {
    let allow = |_: &Request<'_>| Decision::ALLOWED;
    connection.on_data(Site { policy: &allow, log: &mut Vec::<Record>::new() }, reply, false, data)
}

#[test]
fn whole_passed_messages_are_not_copied() {
    let mut lines = connection("test.lineparser", Limits::default());
    assert_eq!(feed(&mut lines, false, b"PASS 1\nPASS 2\n"), Ok(Forward::Unchanged));
}

#[test]
fn an_incomplete_message_waits_for_its_rest() {
    let mut lines = connection("test.lineparser", Limits::default());
    assert_eq!(feed(&mut lines, false, b"PASS 1\nPA"), Ok(Forward::Replaced(b"PASS 1\n".to_vec())));
    assert_eq!(feed(&mut lines, false, b"SS 2"), Ok(Forward::Replaced(Vec::new())));
    assert_eq!(feed(&mut lines, false, b"\n"), Ok(Forward::Replaced(b"PASS 2\n".to_vec())));
}

#[test]
fn dropped_messages_leave_the_others_in_order() {
    let mut lines = connection("test.lineparser", Limits::default());
    let forward = feed(&mut lines, false, b"PASS 1\nDROP\nINSERT 2\nPASS 3\n").unwrap();
    assert_eq!(forward, Forward::Replaced(b"PASS 1\nINSERT 2\nPASS 3\n".to_vec()));
}

#[test]
fn injections_into_the_other_direction_come_at_its_next_message() {
    let mut blocks = connection("test.blockparser", Limits::default());
    assert_eq!(feed(&mut blocks, true, b"12:PASS"), Ok(Forward::Unchanged));
    feed(&mut blocks, false, b"9:INJECT1").unwrap();
    assert!(!blocks.can_flush(true), "the reply is in the middle of a block");
    assert_eq!(blocks.flush(true), b"");
    assert_eq!(feed(&mut blocks, true, b"abcde"), Ok(Forward::Replaced(b"abcde9:INJECT1".to_vec())));
    feed(&mut blocks, false, b"9:INJECT2").unwrap();
    assert_eq!(blocks.flush(true), b"9:INJECT2");
    assert!(!blocks.can_flush(true));
}

#[test]
fn a_drop_reaches_into_later_data() {
    let mut blocks = connection("test.blockparser", Limits::default());
    assert_eq!(feed(&mut blocks, false, b"10:DROP"), Ok(Forward::Replaced(Vec::new())));
    assert_eq!(feed(&mut blocks, false, b"abc6:PASS"), Ok(Forward::Replaced(b"6:PASS".to_vec())));
}

#[test]
fn a_message_over_the_limit_closes_at_once_and_for_good() {
    let mut blocks = connection("test.blockparser", Limits { buffered: 20, injected: 20 });
    let closed = feed(&mut blocks, false, b"21:abc").unwrap_err();
    assert!(closed.reason.contains("over the 20 that may be kept"), "{closed}");
    assert_eq!(feed(&mut blocks, true, b"6:PASS"), Err(closed));
}

#[test]
fn too_many_injected_bytes_close() {
    let mut lines = connection("test.lineparser", Limits { buffered: 100, injected: 10 });
    let closed = feed(&mut lines, false, b"INJECT 1234567890\n").unwrap_err();
    assert!(closed.reason.contains("more than 10 bytes to inject"), "{closed}");
}

#[test]
fn malformed_messages_close_with_the_parsers_reason() {
    let mut lines = connection("test.lineparser", Limits::default());
    let closed = feed(&mut lines, false, b"what\n").unwrap_err();
    assert_eq!(closed.reason, "test.lineparser: a line without an operation");
}

#[test]
fn unknown_parsers_are_refused_with_the_known_ones() {
    let error = Connection::new("http9", info(), &Shared::default(), Limits::default()).err().unwrap();
    assert!(error.to_string().contains("r2d2"), "{error}");
}

#[test]
fn what_was_decided_is_taken_without_the_parser_but_for_its_last_byte() {
    let mut blocks = connection("test.blockparser", Limits::default());
    assert_eq!(blocks.decided(false), 0);
    feed(&mut blocks, false, b"12:PASS").unwrap();
    assert_eq!((blocks.decided(false), blocks.decided(true)), (4, 0));
    assert_eq!(feed(&mut blocks, false, b"5678"), Ok(Forward::Unchanged));
    assert_eq!(blocks.decided(false), 0);
}

#[test]
fn a_parser_that_panics_is_in_the_log_and_keeps_its_connection_closed() {
    let mut connection = connection("test.panicparser", Limits::default());
    let mut log: Vec<Record> = Vec::new();
    let policy = |_: &Request<'_>| Decision::ALLOWED;
    let mut call = |reply, log: &mut Vec<Record>| {
        catch_unwind(AssertUnwindSafe(|| connection.on_data(Site { policy: &policy, log }, reply, false, b"foo")))
    };
    assert!(call(true, &mut log).unwrap().is_ok());
    assert!(call(false, &mut log).is_err());
    let closed = call(true, &mut log).unwrap().unwrap_err();
    assert_eq!(closed.reason, "test.panicparser: it panicked");
    let [Record { entry_type: EntryType::Denied, l7: L7::Generic { proto, fields }, .. }] = &log[..] else {
        panic!("{log:?}")
    };
    assert_eq!(proto, "test.panicparser");
    let status = "Panic: PanicParser OnData(reply=false, endStream=false, data=[[102 111 111]]) panicing...";
    assert_eq!(fields["status"], status);
}

/// Injects without end, taking nothing.
struct Fountain;

impl Parser for Fountain {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, _data: &[u8]) -> Op {
        context.inject(reply, b"drop");
        Op::Inject(4)
    }
}

#[test]
fn a_parser_that_injects_without_end_closes() {
    let limits = Limits { injected: 1000, ..Limits::default() };
    let mut fountain = Connection::with_parser("fountain", Box::new(Fountain), info(), limits);
    let closed = feed(&mut fountain, false, b"a").unwrap_err();
    assert_eq!(closed.reason, "fountain: more than 1000 bytes to inject");
}
