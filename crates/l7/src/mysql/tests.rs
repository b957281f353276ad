use proptest::prelude::*;

use crate::mysql::NAME;
use crate::testing::{Harness, transcript};

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

fn query(sql: &str) -> Vec<u8> {
    packet(0, &[&[3], sql.as_bytes()].concat())
}

fn handshake(flags: u32) -> Vec<u8> {
    let mut payload = (flags | 1 << 9 | 1 << 3 | 1 << 15).to_le_bytes().to_vec();
    payload.resize(32, 0);
    payload.extend(b"user\0\0db\0");
    packet(1, &payload)
}

/// Connected, with the database `db`.
fn connected() -> Harness {
    let mut harness = Harness::metadata(NAME, "t.db", &["select", "insert"]);
    harness.server(&packet(0, b"\x0a8.0"));
    harness.client(&handshake(0));
    harness.server(&packet(2, &[0, 0, 0, 2, 0, 0, 0]));
    harness
}

fn ok(harness: &mut Harness) {
    harness.server(&packet(1, &[0, 0, 0, 2, 0, 0, 0]));
}

#[test]
fn statements_are_decided_on_by_table() {
    for (sql, allowed) in [
        ("SELECT * FROM t", true),
        ("SELECT * FROM db.t", true),
        ("SELECT * FROM other.t", false),
        ("SELECT * FROM t JOIN secret ON 1=1", false),
        ("SELECT (SELECT a FROM secret) FROM t", false),
        ("INSERT INTO t VALUES (1)", true),
        ("INSERT INTO t SELECT * FROM secret", false),
        ("DELETE FROM t", false),
        ("DROP TABLE t", false),
        ("SELECT 1; DROP TABLE t", false),
        ("SET NAMES utf8mb4", true),
        ("SELECT @@version", true),
        ("SELECT LOAD_FILE('/etc/passwd')", false),
        ("SELECT /*!50000 * FROM secret */", false),
        ("SHUTDOWN", false),
    ] {
        let mut harness = connected();
        assert_eq!(!harness.client(&query(sql)).is_empty(), allowed, "{sql}");
        assert_eq!(harness.reverse(true).is_empty(), allowed, "{sql}");
    }
}

#[test]
fn the_database_counts_once_it_is_chosen() {
    let mut harness = connected();
    harness.client(&query("USE other"));
    ok(&mut harness);
    assert_eq!(harness.client(&query("SELECT * FROM t")), b"");
}

#[test]
fn prepared_statements_are_known_by_number() {
    let mut harness = connected();
    harness.client(&packet(0, &[&[0x16], &b"SELECT * FROM t"[..]].concat()));
    harness.server(&packet(1, &[0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
    let execute = |id| packet(0, &[0x17, id, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(harness.client(&execute(5)), execute(5));
    ok(&mut harness);
    assert_eq!(harness.client(&execute(6)), b"");
}

#[test]
fn nothing_slips_in_before_the_server_accepts() {
    let mut harness = Harness::metadata(NAME, "t.db", &["select"]);
    harness.server(&packet(0, b"\x0a8.0"));
    assert!(harness.try_client(&[handshake(0), query("SELECT * FROM secret")].concat()).is_err());
}

#[test]
fn tls_and_compression_close_unless_allowed() {
    let tls = packet(1, &[&(1_u32 << 11 | 1 << 9).to_le_bytes()[..], &[0; 28]].concat());
    assert!(Harness::metadata(NAME, "t.db", &["select"]).try_client(&tls).is_err());
    let mut allowed = Harness::metadata(NAME, "$tls", &["upgrade"]);
    assert_eq!(allowed.client(&tls), tls);
    assert_eq!(allowed.client(b"\x16\x03\x01"), b"\x16\x03\x01");
    assert!(Harness::metadata(NAME, "t.db", &[]).try_client(&handshake(1 << 5)).is_err());
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_result(cuts in prop::collection::vec(1_usize..40, 1..20)) {
        let conversation = vec![
            (false, query("SELECT * FROM t")),
            (true, packet(1, &[0, 0, 0, 2, 0, 0, 0])),
            (false, [query("SELECT * FROM secret"), query("INSERT INTO t VALUES (1)")].concat()),
        ];
        let whole = transcript(&mut connected(), &conversation, &[]);
        prop_assert_eq!(&whole.3, &None);
        prop_assert_eq!(whole, transcript(&mut connected(), &conversation, &cuts));
    }

    #[test]
    fn arbitrary_bytes_never_panic(sql in ".{0,60}", payload in prop::collection::vec(any::<u8>(), 0..60)) {
        transcript(&mut connected(), &[(false, query(&sql)), (true, packet(1, &payload)), (false, packet(0, &payload))], &[]);
        transcript(&mut Harness::metadata(NAME, "t", &[]), &[(true, packet(0, &payload)), (false, packet(1, &payload))], &[]);
    }
}
