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
    connected_with(&["select", "insert"])
}

fn connected_with(operations: &[&str]) -> Harness {
    let mut harness = Harness::metadata(NAME, "t.db", operations);
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
        ("TABLE secret", false),
        ("SELECT * FROM t UNION TABLE secret", false),
        ("SELECT 1 UNION TABLE secret", false),
        ("INSERT INTO t SET a = (SELECT b FROM secret)", false),
        ("INSERT INTO t SET a = 1", true),
        ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = (SELECT b FROM secret)", false),
        ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a)", true),
        ("INSERT INTO t VALUES (1) RETURNING (SELECT b FROM secret)", false),
        ("WITH x AS (SELECT 1) DELETE FROM t", false),
        ("SELECT * FROM t WHERE 1 --(SELECT a FROM secret)\n", false),
        ("SELECT mysql.f() FROM t", false),
        ("SELECT f()", false),
        ("SELECT NOW(), USER(), LAST_INSERT_ID()", true),
        ("SELECT LOAD_FILE('/etc/passwd') FROM t", false),
        ("SET PASSWORD = 'x'", false),
        ("SET ROLE all_of_them", false),
        ("SET GLOBAL x = 1", false),
        ("SET autocommit = 0", true),
        ("COMMIT", true),
    ] {
        let mut harness = connected();
        assert_eq!(!harness.client(&query(sql)).is_empty(), allowed, "{sql}");
        assert_eq!(harness.reverse(true).is_empty(), allowed, "{sql}");
    }
}

#[test]
fn names_of_queries_are_not_those_of_tables() {
    for (sql, allowed) in [
        ("WITH x AS (SELECT * FROM t) SELECT * FROM x", true),
        ("WITH x AS (SELECT * FROM secret) SELECT * FROM x", false),
        ("WITH x AS (SELECT 1), y AS (SELECT * FROM x) SELECT * FROM x, y, t", true),
        ("WITH RECURSIVE x AS (SELECT 1 UNION SELECT 1 FROM x) SELECT * FROM x", true),
        ("INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x", true),
        // In a query ahead of its own, and in its own if it is not recursive, the name is a table's.
        ("WITH secret AS (SELECT * FROM secret) SELECT * FROM secret", false),
        ("WITH x AS (SELECT * FROM secret), secret AS (SELECT 1) SELECT * FROM x", false),
        ("WITH RECURSIVE x AS (SELECT * FROM secret), secret AS (SELECT 1) SELECT * FROM x", false),
        // Outside of its query too.
        ("SELECT * FROM (WITH secret AS (SELECT 1) SELECT * FROM secret) x, secret", false),
        ("WITH secret AS (SELECT 1) SELECT * FROM other.secret", false),
        ("SELECT 1 FROM DUAL", true),
        ("SELECT 1 FROM `dual`", false),
        ("SELECT 1 FROM other.dual", false),
        ("SELECT * FROM t LOCK IN SHARE MODE", true),
        ("SELECT * FROM secret LOCK IN SHARE MODE", false),
        ("SELECT * FROM `t.db`", false),
    ] {
        let mut harness = connected();
        assert_eq!(!harness.client(&query(sql)).is_empty(), allowed, "{sql}");
    }
    // Without a database, a name of both would be ambiguous.
    let mut harness = Harness::metadata(NAME, "t.db", &["select"]);
    harness.server(&packet(0, b"\x0a8.0"));
    harness.client(&handshake(0).iter().map(|byte| if *byte == b'd' { 0 } else { *byte }).collect::<Vec<_>>());
    harness.server(&packet(2, &[0, 0, 0, 2, 0, 0, 0]));
    assert_eq!(harness.client(&query("SELECT * FROM `t.db`")), b"");
}

#[test]
fn other_commands_are_denied_alone() {
    let mut harness = connected_with(&["select", "describe"]);
    let fields = |table: &str| packet(0, &[&[4], table.as_bytes(), &[0]].concat());
    assert_eq!(harness.client(&fields("t")), fields("t"));
    ok(&mut harness);
    assert_eq!(harness.client(&fields("secret")), b"");
    let shutdown = packet(0, &[8, 0]);
    assert_eq!(harness.client(&shutdown), b"");
    assert!(String::from_utf8_lossy(&harness.reverse(true)).contains("command 0x8 is not known"));
    assert!(!harness.client(&query("SELECT * FROM t")).is_empty());
}

#[test]
fn each_operation_on_a_table_must_be_allowed() {
    let sql = "INSERT INTO t SELECT * FROM t";
    assert_eq!(connected_with(&["select"]).client(&query(sql)), b"");
    assert_eq!(connected_with(&["insert"]).client(&query(sql)), b"");
    assert_eq!(connected_with(&["select", "insert"]).client(&query(sql)), query(sql));
}

/// With the right to do it to `t`.
#[test]
fn other_tables_are_not_reached_by_definitions() {
    for (sql, operation, allowed) in [
        ("CREATE TABLE t (a INT)", "create", true),
        ("CREATE TABLE t LIKE secret", "create", false),
        ("ALTER TABLE t RENAME TO secret", "alter", false),
        ("ALTER TABLE t ADD COLUMN b INT", "alter", true),
        ("DROP TABLE t", "drop", true),
        ("DROP DATABASE t", "drop", false),
    ] {
        let mut harness = connected_with(&[operation]);
        assert_eq!(!harness.client(&query(sql)).is_empty(), allowed, "{sql}");
    }
}

/// A server that reads quotes otherwise would find other tables.
#[test]
fn what_changes_the_reading_of_quotes_is_refused() {
    for (sql, allowed) in [
        ("SET sql_mode = 4", false),
        ("SET sql_mode = 0x04", false),
        ("SET sql_mode = 'ORACLE'", false),
        ("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,ANSI_QUOTES'", false),
        ("SET autocommit = 1, sql_mode = 4", false),
        ("SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')", false),
        ("SELECT /*+ SET_VAR(sql_mode = 'ANSI_QUOTES') */ * FROM t", false),
        ("SET sql_mode = CONCAT(@mine, ',STRICT_ALL_TABLES')", false),
        ("SET sql_mode = REPLACE(@@sql_mode, 'STRICT_ALL_TABLES', 'ANSI_QUOTES')", false),
        ("SET @@SESSION.sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), @@SESSION.sql_auto_is_null = 0", true),
        ("SET sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE'", true),
        ("SET NAMES utf8mb4 COLLATE utf8mb4_bin, @@SESSION.sql_mode = CONCAT(@@sql_mode, ',TRADITIONAL')", true),
        ("SET NAMES utf8mb4, sql_mode = 'ANSI_QUOTES'", false),
        ("SET NAMES gbk, autocommit = 0", false),
        ("SET NAMES gbk", false),
        ("SET NAMES utf8mb4", true),
        ("SET character_set_client = gbk", false),
        ("SET @@session.character_set_client = 'sjis'", false),
        ("SET character_set_results = NULL", true),
    ] {
        let mut harness = connected();
        assert_eq!(!harness.client(&query(sql)).is_empty(), allowed, "{sql}");
    }
    let mut gbk = handshake(0);
    gbk[4 + 8] = 28;
    assert!(Harness::metadata(NAME, "t.db", &[]).try_client(&gbk).is_err());
}

#[test]
fn another_user_has_another_database() {
    let mut harness = connected();
    assert!(!harness.client(&packet(0, b"\x11user\0\0other\0\xff\0")).is_empty());
    ok(&mut harness);
    assert_eq!(harness.client(&query("SELECT * FROM t")), b"");
    assert_eq!(harness.client(&query("SELECT * FROM db.t")), query("SELECT * FROM db.t"));
    ok(&mut harness);
    assert!(harness.try_client(&packet(0, b"\x11user\0\0other\0\x1c\0")).is_err());
}

#[test]
fn deep_statements_are_refused_and_long_ones_are_not() {
    for deep in ["+1", " OR 1", " UNION SELECT 1", " IS NULL", " COLLATE x", "->'$'", " IN (1)", " BETWEEN 1 AND 1"] {
        let mut harness = connected();
        let sql = format!("SELECT 1{} FROM t", deep.repeat(100_000));
        assert_eq!(harness.client(&query(&sql)), b"", "{deep}");
        let mut harness = connected();
        harness.client(&query(&format!("SELECT 1{} FROM t", deep.repeat(1_300))));
        assert!(harness.records.len() <= 1);
    }
    let mut harness = connected();
    let long = query(&format!("INSERT INTO t VALUES {}(0)", "(-1, NULL, 'a'), ".repeat(50_000)));
    assert_eq!(harness.client(&long), long);
    let mut harness = connected();
    let many = query(&format!("SELECT * FROM t WHERE 1{}", " OR a = 1".repeat(1_500)));
    assert_eq!(harness.client(&many), many);
}

#[test]
fn the_database_counts_once_it_is_chosen() {
    let mut harness = connected();
    harness.client(&query("USE other"));
    ok(&mut harness);
    assert_eq!(harness.client(&query("SELECT * FROM t")), b"");
    harness.client(&query("USE `x db`"));
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
