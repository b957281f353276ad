use proptest::prelude::*;

use crate::cassandra::segment;
use crate::testing::{Harness, compile, transcript};

const KS: &[&[(&str, &str)]] = &[&[("query_table", "^ks\\.")]];

fn envelope(version: u8, flags: u8, stream: u8, opcode: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[version, flags, 0, stream, opcode], &length[..], body].concat()
}

fn long(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn short(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn query(version: u8, stream: u8, cql: &str) -> Vec<u8> {
    let parameters: &[u8] = if version >= 5 { &[0, 1, 0, 0, 0, 0] } else { &[0, 1, 0] };
    envelope(version, 0, stream, 7, &[long(cql), parameters.to_vec()].concat())
}

fn startup(version: u8, compression: &str) -> Vec<u8> {
    let body = if compression.is_empty() {
        [&[0, 1][..], &short("CQL_VERSION"), &short("3.0.0")].concat()
    } else {
        [&[0, 2][..], &short("CQL_VERSION"), &short("3.0.0"), &short("COMPRESSION"), &short(compression)].concat()
    };
    envelope(version, 0, 0, 1, &body)
}

fn unauthorized(version: u8, stream: u8) -> Vec<u8> {
    envelope(0x80 | version, 0, stream, 0, &[&[0, 0, 0x21, 0][..], &short("Request Unauthorized")].concat())
}

fn result(version: u8, stream: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    envelope(0x80 | version, 0, stream, 8, &[&[0, 0, 0, kind], body].concat())
}

#[test]
fn denied_statements_are_answered_on_their_stream() {
    for version in [3, 4, 5] {
        let mut harness = Harness::new("cassandra", KS);
        let allowed = query(version, 1, "SELECT * FROM ks.t");
        assert_eq!(harness.client(&[allowed.clone(), query(version, 9, "SELECT * FROM x.t")].concat()), allowed);
        assert_eq!(harness.reverse(true), unauthorized(version, 9));
    }
}

#[test]
fn texts_and_quoted_names_do_not_pass_for_a_table() {
    for cql in [
        "SELECT * FROM x.t WHERE a = ' from ks.t'",
        "SELECT * FROM \"ks.\".t2",
        "UPDATE x.t SET a = $$ ks.t $$",
        "SELECT \"from ks.t\" FROM x.t",
    ] {
        let mut harness = Harness::new("cassandra", &[&[("query_table", "^ks\\.t$")]]);
        assert_eq!(harness.client(&query(4, 1, cql)), b"", "{cql}");
    }
}

#[test]
fn prepared_statements_are_decided_on_when_they_run() {
    let mut harness = Harness::new("cassandra", &[]);
    harness.client(&envelope(4, 0, 3, 9, &long("SELECT * FROM ks.t")));
    harness.server(&result(4, 3, 4, &short("id1")));
    let execute = envelope(4, 0, 4, 10, &[short("id1"), vec![0, 1, 0]].concat());
    assert_eq!(harness.client(&execute), execute);
    harness.rules(&[&[("query_table", "other")]]);
    assert_eq!(harness.client(&execute), b"");
    assert_eq!(harness.reverse(true), unauthorized(4, 4));
}

#[test]
fn an_unknown_prepared_statement_is_to_be_prepared_again() {
    let mut harness = Harness::new("cassandra", &[]);
    assert_eq!(harness.client(&envelope(4, 0, 4, 10, &[short("idx"), vec![0, 1, 0]].concat())), b"");
    let body = [&[0, 0, 0x25, 0][..], &short("unknown prepared statement"), &short("idx")].concat();
    assert_eq!(harness.reverse(true), envelope(0x84, 0, 4, 0, &body));
}

#[test]
fn a_keyspace_counts_once_it_is_confirmed() {
    let mut harness = Harness::new("cassandra", KS);
    let select = query(4, 1, "SELECT * FROM t");
    harness.client(&query(4, 0, "USE other"));
    assert_eq!(harness.client(&select), b"");
    harness.server(&result(4, 0, 3, &short("other")));
    harness.client(&query(4, 2, "USE ks"));
    assert_eq!(harness.client(&select), b"", "the server may still use the other one");
    harness.server(&envelope(0x84, 0, 2, 0, &[0, 0, 0x22, 0, 0, 0]));
    assert_eq!(harness.client(&select), b"", "the server refused it");
    harness.client(&query(4, 2, "USE ks"));
    harness.server(&result(4, 2, 3, &short("ks")));
    assert_eq!(harness.client(&select), select);
}

#[test]
fn version_5_names_a_keyspace_per_query() {
    let mut harness = Harness::new("cassandra", KS);
    let query = |keyspace: &str| {
        let parameters = [&[0, 1, 0, 0, 0, 0x80][..], &short(keyspace)].concat();
        envelope(5, 0, 1, 7, &[long("SELECT * FROM t"), parameters].concat())
    };
    assert_eq!(harness.client(&query("ks")), query("ks"));
    assert_eq!(harness.client(&query("x")), b"");
}

#[test]
fn one_denied_statement_denies_its_batch() {
    let batch = |second: &str| {
        let part = |cql: &str| [&[0][..], &long(cql), &[0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 7]].concat();
        envelope(4, 0, 1, 13, &[&[0, 0, 2][..], &part("UPDATE ks.t SET a=1"), &part(second), &[0, 1, 0]].concat())
    };
    let mut harness = Harness::new("cassandra", KS);
    assert_eq!(harness.client(&batch("DELETE FROM ks.u WHERE a=1")), batch("DELETE FROM ks.u WHERE a=1"));
    assert_eq!(harness.client(&batch("DELETE FROM x.u WHERE a=1")), b"");
    assert_eq!(harness.denied(), 2);
}

#[test]
fn compressed_bodies_are_read() {
    for name in ["lz4", "snappy"] {
        let mut harness = Harness::new("cassandra", KS);
        harness.client(&startup(4, name));
        harness.server(&envelope(0x84, 0, 0, 2, b""));
        let compressed = |cql: &str| {
            let body = [long(cql), vec![0, 1, 0]].concat();
            let body = if name == "lz4" {
                [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &lz4_flex::block::compress(&body)].concat()
            } else {
                snap::raw::Encoder::new().compress_vec(&body).unwrap()
            };
            envelope(4, 1, 1, 7, &body)
        };
        assert_eq!(harness.client(&compressed("SELECT * FROM ks.t")), compressed("SELECT * FROM ks.t"));
        assert_eq!(harness.client(&compressed("SELECT * FROM x.t")), b"");
        assert_eq!(harness.reverse(true), unauthorized(4, 1));
    }
}

#[test]
fn a_compression_bomb_closes() {
    let mut harness = Harness::new("cassandra", &[]);
    harness.client(&startup(4, "lz4"));
    let closed = harness.try_client(&envelope(4, 1, 1, 7, &[0x7f, 0xff, 0xff, 0xff, 0, 0])).unwrap_err();
    assert!(closed.reason.contains("cannot be decompressed"), "{closed}");
    let mut harness = Harness::new("cassandra", &[]);
    assert!(harness.try_client(&envelope(4, 1, 1, 7, &[0; 9])).is_err(), "it was not agreed on");
}

fn segmented(harness: &mut Harness, compression: &str) {
    harness.client(&startup(5, compression));
    harness.server(&envelope(0x85, 0, 0, 2, b""));
}

#[test]
fn denied_statements_are_cut_out_of_segments() {
    for compression in ["", "lz4"] {
        let lz4 = !compression.is_empty();
        let mut harness = Harness::new("cassandra", KS);
        segmented(&mut harness, compression);
        let allowed = query(5, 1, "SELECT * FROM ks.t");
        let both = segment::write(&[allowed.clone(), query(5, 2, "SELECT * FROM x.t")].concat(), lz4).unwrap();
        assert_eq!(harness.client(&both), segment::write(&allowed, lz4).unwrap());
        assert_eq!(harness.reverse(true), segment::write(&unauthorized(5, 2), lz4).unwrap());
        let alone = segment::write(&allowed, lz4).unwrap();
        assert_eq!(harness.client(&alone), alone);
    }
}

#[test]
fn a_broken_segment_closes() {
    let mut harness = Harness::new("cassandra", &[]);
    segmented(&mut harness, "");
    let mut broken = segment::write(&query(5, 1, "SELECT * FROM ks.t"), false).unwrap();
    broken[10] ^= 1;
    assert!(harness.try_client(&broken).is_err());
}

#[test]
fn unknown_versions_are_told_which_are_known() {
    let mut harness = Harness::new("cassandra", &[]);
    assert_eq!(harness.client(&envelope(66, 0, 1, 5, b"")), b"");
    let reply = harness.reverse(true);
    assert_eq!(reply[9..13], [0, 0, 0, 0x0a]);
    let options = envelope(5, 0, 1, 5, b"");
    assert_eq!(harness.client(&options), options);
}

#[test]
fn truncate_is_about_its_table() {
    let mut harness = Harness::new("cassandra", KS);
    assert_eq!(harness.client(&query(4, 1, "TRUNCATE x.t")), b"");
    assert_eq!(harness.client(&query(4, 1, "TRUNCATE ks.t")), query(4, 1, "TRUNCATE ks.t"));
}

#[test]
fn rules_must_make_sense() {
    let compile = |fields| compile("cassandra", fields);
    assert!(compile(&[("query_action", "explain")]).is_err());
    assert!(compile(&[("query_action", "create-role"), ("query_table", "t")]).is_err());
    assert!(compile(&[("query_action", "select"), ("query_table", "t")]).is_ok());
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_result(cuts in prop::collection::vec(1_usize..60, 1..20)) {
        let plain = vec![
            (false, [query(4, 1, "SELECT * FROM ks.t"), query(4, 2, "SELECT * FROM t"), envelope(4, 0, 3, 9, &long("SELECT * FROM ks.u"))].concat()),
            (true, [result(4, 1, 1, b""), result(4, 3, 4, &short("id"))].concat()),
            (false, envelope(4, 0, 4, 10, &[short("id"), vec![0, 1, 0]].concat())),
        ];
        let segments = vec![
            (false, startup(5, "lz4")),
            (true, envelope(0x85, 0, 0, 2, b"")),
            (false, [
                segment::write(&[query(5, 1, "SELECT * FROM ks.t"), query(5, 2, "SELECT * FROM t")].concat(), true).unwrap(),
                segment::write(&query(5, 3, "SELECT * FROM ks.t"), true).unwrap(),
            ].concat()),
        ];
        for conversation in [plain, segments] {
            let whole = transcript(&mut Harness::new("cassandra", KS), &conversation, &[]);
            prop_assert_eq!(&whole.3, &None);
            let cut = transcript(&mut Harness::new("cassandra", KS), &conversation, &cuts);
            prop_assert_eq!(whole, cut);
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        reply: bool, version in 2_u8..7, flags: u8, opcode in 0_u8..17, body in prop::collection::vec(any::<u8>(), 0..60), cql in ".{0,60}",
    ) {
        let top = if reply { 0x80 } else { 0 };
        let query = envelope(version, 0, 1, 7, &long(&cql));
        let conversation = [(false, query), (reply, envelope(top | version, flags, 1, opcode, &body))];
        transcript(&mut Harness::new("cassandra", KS), &conversation, &[]);
        let conversation = [(false, startup(5, "lz4")), (true, envelope(0x85, 0, 0, 2, b"")), (reply, body)];
        transcript(&mut Harness::new("cassandra", KS), &conversation, &[]);
    }
}

/// Servers run requests side by side: an earlier one, allowed in one keyspace, must not run in another.
#[test]
fn the_keyspace_does_not_change_under_statements_without_one() {
    let mut harness = Harness::new("cassandra", KS);
    harness.client(&query(4, 1, "USE ks"));
    harness.server(&result(4, 1, 3, &short("ks")));
    harness.client(&query(4, 2, "SELECT * FROM t"));
    let closed = harness.try_client(&query(4, 3, "USE other")).unwrap_err();
    assert!(closed.reason.contains("USE before the replies"), "{closed}");
}

/// Which reply is to which request is not known then: neither is taken for the other's.
#[test]
fn a_stream_that_is_used_twice_is_judged_by_both() {
    let mut harness = Harness::new("cassandra", KS);
    harness.client(&query(4, 1, "USE ks"));
    assert_eq!(harness.client(&query(4, 1, "SELECT * FROM t")), query(4, 1, "SELECT * FROM t"));
    // Not the keyspace's.
    harness.server(&result(4, 1, 2, b""));
    assert!(!harness.client(&query(4, 1, "SELECT * FROM t")).is_empty());

    let mut harness = Harness::new("cassandra", &[]);
    let prepare = |cql: &str| envelope(4, 0, 1, 9, &long(cql));
    harness.client(&[prepare("SELECT * FROM ks.t"), prepare("SELECT * FROM other.t")].concat());
    harness.server(&result(4, 1, 4, &short("id")));
    harness.rules(KS);
    let execute = envelope(4, 0, 2, 10, &[short("id"), vec![0, 1, 0]].concat());
    assert_eq!(harness.client(&execute), b"");
    assert_eq!(harness.records.last().unwrap().fields()["query_table"], "other.t");
}

#[test]
fn streams_of_the_server_are_refused() {
    let mut harness = Harness::new("cassandra", KS);
    let mut request = query(4, 1, "SELECT * FROM ks.t");
    request[2] = 0x80;
    assert!(harness.try_client(&request).is_err());
}

/// Which of two is in force is not known by the order of their replies.
#[test]
fn only_one_keyspace_is_chosen_at_a_time() {
    let mut harness = Harness::new("cassandra", &[]);
    harness.client(&query(4, 1, "USE ks"));
    assert!(harness.try_client(&query(4, 2, "USE other")).is_err());
}

/// The reply to an earlier request must not be taken for that to `STARTUP`, which decides on the framing.
#[test]
fn startup_comes_alone() {
    let options = envelope(5, 0, 1, 5, b"");
    let mut harness = Harness::new("cassandra", KS);
    assert!(harness.try_client(&[options.clone(), startup(5, "")].concat()).is_err());
    let mut harness = Harness::new("cassandra", KS);
    assert_eq!(harness.client(&options), options);
    harness.server(&envelope(0x85, 0, 1, 6, &[0, 0]));
    assert_eq!(harness.client(&startup(5, "")), startup(5, ""));
}

/// A server keeps the compression of the first.
#[test]
fn a_second_startup_closes() {
    let mut harness = Harness::new("cassandra", KS);
    harness.client(&startup(4, "lz4"));
    harness.server(&envelope(0x84, 0, 0, 2, b""));
    assert!(harness.try_client(&startup(4, "snappy")).is_err());
}
