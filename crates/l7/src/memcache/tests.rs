use proptest::prelude::*;

use crate::testing::{Harness, compile, transcript};

const GET_A: &[&[(&str, &str)]] =
    &[&[("command", "get"), ("keyPrefix", "a")], &[("command", "set"), ("keyPrefix", "a")]];
const DENIAL: &str = "CLIENT_ERROR access denied\r\n";

fn packet(magic: u8, opcode: u8, key: &[u8], opaque: u8) -> Vec<u8> {
    let mut packet = vec![0; 24];
    (packet[0], packet[1], packet[15]) = (magic, opcode, opaque);
    packet[3] = u8::try_from(key.len()).unwrap();
    packet[11] = packet[3];
    packet.extend(key);
    packet
}

fn binary_denial(opcode: u8, opaque: u8) -> Vec<u8> {
    let mut denial = packet(0x81, opcode, b"", opaque);
    (denial[7], denial[11]) = (8, 13);
    denial.extend(b"access denied");
    denial
}

#[test]
fn denials_come_in_the_order_of_the_requests() {
    let mut harness = Harness::new("memcache", GET_A);
    assert_eq!(harness.client(b"get b\r\n"), b"");
    assert_eq!(harness.reverse(true), DENIAL.as_bytes());
    assert_eq!(harness.client(b"get a1\r\nget b\r\nget a2 a3\r\nget a b\r\n"), b"get a1\r\nget a2 a3\r\n");
    assert_eq!(harness.reverse(true), b"");
    let reply = harness.server(b"VALUE a1 0 5\r\nEND\r\n\r\nEND\r\nEND\r\n");
    assert_eq!(String::from_utf8(reply).unwrap(), format!("VALUE a1 0 5\r\nEND\r\n\r\nEND\r\n{DENIAL}END\r\n{DENIAL}"));
}

#[test]
fn a_denied_value_does_not_become_commands() {
    let mut harness = Harness::new("memcache", GET_A);
    assert_eq!(harness.client(b"set b 0 0 8\r\nget a1\r\n\r\nget a\r\n"), b"get a\r\n");
}

#[test]
fn requests_without_reply_are_denied_without_reply() {
    let mut harness = Harness::new("memcache", GET_A);
    assert_eq!(
        harness.client(b"set b 0 0 1 noreply\r\nx\r\nset a 0 0 1 noreply\r\nx\r\nget b\r\n"),
        b"set a 0 0 1 noreply\r\nx\r\n"
    );
    assert_eq!(harness.reverse(true), DENIAL.as_bytes());
}

#[test]
fn lines_that_memcached_reads_otherwise_close() {
    let long = format!("set a{} 0 0 8\r\nget b\r\n\r\n", "a".repeat(250));
    for line in [
        "get a\nget b\r\n",
        "set a 0 0 x\r\n",
        "set a 0 0 5 1 noreply x\r\n",
        "set a 0 0 -1\r\n",
        "set a x 0 1\r\n",
        "set a -1 0 1\r\n",
        "set a 4294967296 0 1\r\n",
        "set a 99999999999999999999 0 1\r\n",
        "set a 0 99999999999999999999 1\r\n",
        "cas a 0 0 1 -1\r\n",
        "cas a 0 0 1 99999999999999999999\r\n",
        "ms a 1 c k s t f O1 F1 T1 I q x1 x2 x3 x4\r\n",
        "set a\t0 0 1\r\n",
        "get a\0\r\n",
        "get\r\n",
        "\r\n",
        "bogus a\r\n",
        &long,
    ] {
        let mut harness = Harness::new("memcache", &[]);
        assert!(harness.try_client(line.as_bytes()).is_err(), "{line:?}");
    }
}

#[test]
fn meta_commands_are_the_classic_ones_they_amount_to() {
    let allowed = |line: &str, command: &str| {
        let mut harness = Harness::new("memcache", &[&[("command", command), ("keyExact", "key")]]);
        !harness.client(line.as_bytes()).is_empty()
    };
    assert!(allowed("mg key v\r\n", "get"));
    assert!(!allowed("mg key v\r\n", "set"));
    assert!(!allowed("mg other v\r\n", "get"));
    assert!(allowed("mg a2V5 b v\r\n", "get"), "the key is in base64");
    assert!(!allowed("mg key v T30\r\n", "get"), "it touches");
    assert!(allowed("mg key v T30\r\n", "gat"));
    assert!(allowed("ms key 2 T0\r\nab\r\n", "set"));
    assert!(allowed("ms key 2 ME\r\nab\r\n", "add"));
    assert!(!allowed("ms key 2 ME\r\nab\r\n", "set"));
    assert!(allowed("ma key MD\r\n", "decr"));
    assert!(allowed("md key q\r\n", "delete"));
    assert!(allowed("mn\r\n", "delete"));
}

#[test]
fn rules_allow_the_parts_of_a_request_together() {
    let rules: &[&[(&str, &str)]] = &[
        &[("command", "get"), ("keyPrefix", "a")],
        &[("command", "get"), ("keyPrefix", "b")],
        &[("command", "add"), ("keyExact", "a1")],
    ];
    let allowed = |line: &str| !Harness::new("memcache", rules).client(line.as_bytes()).is_empty();
    assert!(allowed("get a1 b1 a2\r\n"));
    assert!(!allowed("get a1 c1 b1\r\n"));
    assert!(allowed("mg a1 v N30\r\n"), "it reads, and adds what is missing");
    assert!(!allowed("mg a2 v N30\r\n"));
    assert!(!allowed("mg b1 v N30\r\n"));
}

#[test]
fn a_denial_among_quiet_requests_takes_the_place_of_a_mark() {
    let mut harness = Harness::new("memcache", GET_A);
    assert_eq!(
        harness.client(b"mg a1 v q\r\nmg b v\r\nmg a2 v q\r\nmn\r\n"),
        b"mg a1 v q\r\nmn\r\nmg a2 v q\r\nmn\r\n"
    );
    let reply = harness.server(b"VA 2\r\nhi\r\nMN\r\nMN\r\n");
    assert_eq!(String::from_utf8(reply).unwrap(), format!("VA 2\r\nhi\r\n{DENIAL}MN\r\n"));
    assert_eq!(harness.client(b"mg b v\r\n"), b"");
    assert_eq!(harness.reverse(true), DENIAL.as_bytes());
}

#[test]
fn a_classic_request_after_quiet_ones_comes_behind_a_mark() {
    let mut harness = Harness::new("memcache", GET_A);
    assert_eq!(harness.client(b"mg a1 v q\r\nget a\r\n"), b"mg a1 v q\r\nmn\r\nget a\r\n");
    assert_eq!(harness.server(b"MN\r\nVALUE a 0 1\r\nx\r\nEND\r\n"), b"VALUE a 0 1\r\nx\r\nEND\r\n");
}

#[test]
fn long_replies_are_passed_in_parts() {
    let mut harness = Harness::new("memcache", GET_A);
    harness.client(b"get a1 a2\r\n");
    let value = |key: &str, size: usize| format!("VALUE {key} 0 {size}\r\n{}\r\n", "v".repeat(size));
    let (first, second) = (value("a1", 100_000), value("a2", 3));
    assert_eq!(harness.server(&first.as_bytes()[..50_000]).len(), 50_000);
    assert_eq!(harness.server(&first.as_bytes()[50_000..]).len(), first.len() - 50_000);
    assert_eq!(harness.server(format!("{second}END\r\n").as_bytes()), format!("{second}END\r\n").as_bytes());
    assert_eq!(harness.records.len(), 2);
}

#[test]
fn replies_without_request_close() {
    let mut harness = Harness::new("memcache", &[]);
    harness.client(b"get a\r\n");
    assert_eq!(harness.server(b"END\r\n"), b"END\r\n");
    assert!(harness.try_server(b"END\r\n").is_err());
}

#[test]
fn binary_denials_carry_the_requests_opcode_and_opaque() {
    let mut harness = Harness::new("memcache", GET_A);
    let (allowed, denied) = (packet(0x80, 0, b"a", 1), packet(0x80, 0x0c, b"b", 2));
    assert_eq!(
        harness.client(&[allowed.clone(), denied, allowed.clone()].concat()),
        [allowed.clone(), allowed].concat()
    );
    let replies = [packet(0x81, 0, b"", 1), packet(0x81, 0, b"", 3)];
    assert_eq!(harness.server(&replies.concat()), [&replies[0][..], &binary_denial(0x0c, 2), &replies[1]].concat());
}

#[test]
fn binary_denials_among_quiet_requests_take_the_place_of_a_noop() {
    let mut harness = Harness::new("memcache", GET_A);
    let quiet = packet(0x80, 9, b"a", 1);
    let sent = harness.client(&[quiet.clone(), packet(0x80, 9, b"b", 2), packet(0x80, 0, b"a", 3)].concat());
    assert_eq!(sent, [quiet, packet(0x80, 10, b"", 2), packet(0x80, 0, b"a", 3)].concat());
    let replies = [packet(0x81, 9, b"", 1), packet(0x81, 10, b"", 2), packet(0x81, 0, b"", 3)];
    assert_eq!(harness.server(&replies.concat()), [&replies[0][..], &binary_denial(9, 2), &replies[2]].concat());
}

#[test]
fn binary_statistics_end_with_an_empty_one() {
    let mut harness = Harness::new("memcache", &[&[("command", "stats")]]);
    harness.client(&[packet(0x80, 16, b"", 1), packet(0x80, 0, b"b", 2)].concat());
    let replies = [packet(0x81, 16, b"pid", 1), packet(0x81, 16, b"", 1)].concat();
    assert_eq!(harness.server(&replies), [&replies[..], &binary_denial(0, 2)].concat());
}

#[test]
fn a_binary_key_longer_than_the_body_closes() {
    let mut bad = packet(0x80, 0, b"abc", 0);
    bad[11] = 2;
    assert!(Harness::new("memcache", &[]).try_client(&bad).is_err());
}

#[test]
fn rules_must_make_sense() {
    let compile = |fields| compile("memcache", fields);
    assert!(compile(&[("keyExact", "a")]).is_err());
    assert!(compile(&[("command", "frobnicate")]).is_err());
    assert!(compile(&[("command", "get"), ("opCode", "0")]).is_err());
    assert!(compile(&[("command", "get"), ("keyExact", "a"), ("keyPrefix", "a")]).is_err());
    assert!(compile(&[("opCode", "256")]).is_err());
    assert!(compile(&[("opCode", "12"), ("keyRegex", "^a")]).is_ok());
    assert!(compile(&[("command", "writeGroup")]).is_ok());
}

#[test]
fn a_rule_that_denies_a_key_denies_requests_with_it_among_others() {
    let mut harness = Harness::new("memcache", &[]);
    harness.deny(&[&[("command", "get"), ("keyExact", "secret")]]);
    assert_eq!(harness.client(b"get a secret\r\nget a\r\n"), b"get a\r\n");
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_result(cuts in prop::collection::vec(1_usize..40, 1..20)) {
        let text = vec![
            (false, b"get a\r\nget b\r\nmg a v q\r\nset a 0 0 5\r\nhe\r\no\r\nset b 0 0 2\r\nxx\r\nmg b v\r\nstats\r\nmn\r\n".to_vec()),
            (true, b"VALUE a 0 7\r\nEND\r\nab\r\nEND\r\nVA 2\r\nMN\r\nMN\r\nSTORED\r\nMN\r\n".to_vec()),
        ];
        let binary = vec![
            (false, [packet(0x80, 9, b"a", 1), packet(0x80, 9, b"b", 2), packet(0x80, 0, b"a", 3), packet(0x80, 0, b"b", 4)].concat()),
            (true, [packet(0x81, 9, b"", 1), packet(0x81, 10, b"", 2), packet(0x81, 0, b"zzz", 3)].concat()),
        ];
        for conversation in [text, binary] {
            let whole = transcript(&mut Harness::new("memcache", GET_A), &conversation, &[]);
            prop_assert_eq!(&whole.3, &None);
            let cut = transcript(&mut Harness::new("memcache", GET_A), &conversation, &cuts);
            prop_assert_eq!(whole, cut);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(conversation in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..6)) {
        transcript(&mut Harness::new("memcache", GET_A), &conversation, &[7]);
    }
}
