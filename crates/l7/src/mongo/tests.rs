use bson::{RawDocumentBuf, rawdoc};
use proptest::prelude::*;

use crate::mongo::NAME;
use crate::testing::{Harness, transcript};

fn message(id: i32, code: i32, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(16 + body.len()).unwrap();
    [&[length, id, 0, code].map(i32::to_le_bytes).concat(), body].concat()
}

fn body(document: &RawDocumentBuf) -> Vec<u8> {
    [&[0, 0, 0, 0, 0][..], document.as_bytes()].concat()
}

fn msg(id: i32, document: &RawDocumentBuf) -> Vec<u8> {
    message(id, 2013, &body(document))
}

fn harness() -> Harness {
    with(&["query", "find", "aggregate"])
}

/// With the right to do this to a collection.
fn with(operations: &[&str]) -> Harness {
    Harness::metadata(NAME, "db.c", operations)
}

/// A message whose command has sequences of documents.
fn sequences(command: &RawDocumentBuf, sequences: &[(&str, &[RawDocumentBuf])]) -> Vec<u8> {
    let mut whole = body(command);
    for (name, documents) in sequences {
        let data = documents.iter().flat_map(|document| document.as_bytes()).copied();
        let section = [name.as_bytes(), &[0], &data.collect::<Vec<_>>()].concat();
        whole.push(1);
        whole.extend(i32::try_from(section.len() + 4).unwrap().to_le_bytes());
        whole.extend(section);
    }
    message(1, 2013, &whole)
}

#[test]
fn denied_commands_are_answered_by_number() {
    let mut harness = harness();
    let find = msg(1, &rawdoc! { "find": "c", "$db": "db" });
    assert_eq!(harness.client(&[find.clone(), msg(7, &rawdoc! { "insert": "c", "$db": "db" })].concat()), find);
    let reply = harness.reverse(true);
    assert_eq!(reply[8..12], 7_i32.to_le_bytes());
    assert_eq!(harness.records[1].fields()["collections"], "db.c: insert");
    assert_eq!(harness.denied(), 1);
}

#[test]
fn stages_cannot_reach_other_collections() {
    for stage in [
        rawdoc! { "$lookup": { "from": "secret" } },
        rawdoc! { "$facet": { "x": [{ "$unionWith": "secret" }] } },
        rawdoc! { "$out": "secret" },
        rawdoc! { "$merge": { "into": { "db": "other", "coll": "c" } } },
    ] {
        let mut array = bson::RawArrayBuf::new();
        array.push(stage);
        let command = rawdoc! { "aggregate": "c", "pipeline": array, "$db": "db" };
        assert_eq!(harness().client(&msg(1, &command)), b"");
    }
}

#[test]
fn each_operation_on_a_collection_must_be_allowed() {
    let out = msg(1, &rawdoc! { "aggregate": "c", "pipeline": [{ "$out": "c" }], "$db": "db" });
    assert_eq!(with(&["query"]).client(&out), b"");
    assert_eq!(with(&["insert", "update"]).client(&out), b"");
    assert_eq!(with(&["query", "insert", "update"]).client(&out), out);
    assert_eq!(with(&["aggregate", "insert", "update"]).client(&out), out);
    let remove = msg(1, &rawdoc! { "findAndModify": "c", "remove": true, "$db": "db" });
    assert_eq!(with(&["update"]).client(&remove), b"");
    assert_eq!(with(&["delete"]).client(&remove), remove);
}

#[test]
fn operations_on_many_collections_are_decided_on_one_by_one() {
    let command = rawdoc! { "bulkWrite": 1, "$db": "admin" };
    let namespaces = [rawdoc! { "ns": "db.c" }, rawdoc! { "ns": "db.secret" }];
    let bulk = |operations: &[RawDocumentBuf]| sequences(&command, &[("ops", operations), ("nsInfo", &namespaces)]);
    let insert = bulk(&[rawdoc! { "insert": 0, "document": {} }]);
    assert_eq!(with(&["insert"]).client(&insert), insert);
    assert_eq!(with(&["bulkWrite"]).client(&insert), insert);
    assert_eq!(with(&["update"]).client(&insert), b"");
    assert_eq!(with(&["insert"]).client(&bulk(&[rawdoc! { "insert": 0 }, rawdoc! { "delete": 0 }])), b"");
    assert_eq!(with(&["insert"]).client(&bulk(&[rawdoc! { "insert": 0 }, rawdoc! { "insert": 1 }])), b"");
    assert!(with(&["insert"]).try_client(&bulk(&[rawdoc! { "insert": 2 }])).is_err());
    assert!(with(&["insert"]).try_client(&bulk(&[])).is_err());
}

#[test]
fn what_servers_may_read_otherwise_closes() {
    let find = rawdoc! { "find": "c", "$db": "db" };
    let pipeline = [rawdoc! { "$lookup": { "from": "secret" } }];
    assert!(harness().try_client(&sequences(&find, &[("pipeline", &pipeline)])).is_err());
    let mut twice = rawdoc! { "find": "c", "$db": "db" };
    twice.append(bson::cstr!("find"), "secret");
    assert!(harness().try_client(&msg(1, &twice)).is_err());
    let both = message(1, 2013, &[body(&find), vec![0], find.as_bytes().to_vec()].concat());
    assert!(harness().try_client(&both).is_err());
}

/// Inserts of so many documents of 500 kB.
fn bulky(documents: usize) -> Vec<u8> {
    let document = rawdoc! { "_id": 1, "data": "x".repeat(500_000) };
    sequences(&rawdoc! { "insert": "c", "$db": "db" }, &[("documents", &vec![document; documents])])
}

#[test]
fn long_messages_are_decided_on_by_their_start() {
    let long = [bulky(60), msg(1, &rawdoc! { "find": "c", "$db": "db" })].concat();
    let mut allowed = with(&["insert", "find"]);
    let passed: Vec<_> = long.chunks(100_003).flat_map(|chunk| allowed.client(chunk)).collect();
    assert!(passed == long);
    let mut denied = with(&["find"]);
    let passed: Vec<_> = long.chunks(100_003).flat_map(|chunk| denied.client(chunk)).collect();
    assert_eq!(passed, msg(1, &rawdoc! { "find": "c", "$db": "db" }));
    assert!(!denied.reverse(true).is_empty());
    let insert = rawdoc! { "insert": "c", "$db": "db" };
    let other = sequences(&insert, &[("documents", &[rawdoc! { "x": "y".repeat(2 << 20) }]), ("pipeline", &[])]);
    assert!(with(&["insert"]).try_client(&other).is_err());
}

#[test]
fn tls_is_told_from_messages() {
    let hello = [&[0x16, 3, 1, 2, 0][..], &[0; 512]].concat();
    assert!(harness().try_client(&hello).unwrap_err().reason.contains("TLS"));
}

#[test]
fn connecting_works_under_any_rules() {
    let hello = msg(1, &rawdoc! { "hello": 1, "$db": "admin" });
    assert_eq!(harness().client(&hello), hello);
}

#[test]
fn compressed_messages_are_read_and_bombs_close() {
    let plain = body(&rawdoc! { "find": "secret", "$db": "db" });
    let compressed = |size: i32, data: &[u8]| {
        message(1, 2012, &[&[2013, size].map(i32::to_le_bytes).concat()[..], &[1], data].concat())
    };
    let data = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    assert_eq!(harness().client(&compressed(i32::try_from(plain.len()).unwrap(), &data)), b"");
    assert!(harness().try_client(&compressed(i32::MAX, &data)).is_err());
    assert!(harness().try_client(&compressed(3, &data)).is_err());
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_result(cuts in prop::collection::vec(1_usize..60, 1..20)) {
        let find = |id, name: &str| msg(id, &rawdoc! { "find": name, "$db": "db" });
        let conversation = vec![(false, [find(1, "c"), find(2, "x"), find(3, "c")].concat()), (true, find(9, "c"))];
        let whole = transcript(&mut harness(), &conversation, &[]);
        prop_assert_eq!(&whole.3, &None);
        prop_assert_eq!(whole, transcript(&mut harness(), &conversation, &cuts));
    }

    #[test]
    fn arbitrary_bodies_never_panic(code in prop::sample::select(vec![2001, 2002, 2004, 2005, 2006, 2007, 2012, 2013]), body in prop::collection::vec(any::<u8>(), 0..90)) {
        transcript(&mut harness(), &[(false, message(1, code, &body))], &[]);
    }
}

#[test]
fn views_and_copies_cannot_reach_other_collections() {
    for command in [
        rawdoc! { "create": "c", "viewOn": "secret", "pipeline": [], "$db": "db" },
        rawdoc! { "collMod": "c", "viewOn": "secret", "pipeline": [], "$db": "db" },
        rawdoc! { "cloneCollectionAsCapped": "c", "toCollection": "secret", "size": 1, "$db": "db" },
        rawdoc! { "aggregate": "c", "pipeline": [{ "$lookup": { "from": { "db": "config", "coll": "x" } } }], "$db": "db" },
    ] {
        let mut harness =
            Harness::metadata(NAME, "db.c", &["create", "collMod", "cloneCollectionAsCapped", "query", "aggregate"]);
        let message = msg(1, &command);
        assert!(
            harness.try_client(&message).is_ok_and(|bytes| bytes.is_empty()) || harness.try_client(&message).is_err(),
            "{command:?}"
        );
    }
}

#[test]
fn wrapped_commands_are_unwrapped() {
    let wrapped = rawdoc! { "$query": { "find": "secret" }, "$readPreference": { "mode": "primary" } };
    let query = message(1, 2004, &[&[0; 4][..], b"db.$cmd\0", &[0; 8], wrapped.as_bytes()].concat());
    let mut harness = Harness::metadata(NAME, "db.$cmd", &["$query"]);
    assert_eq!(harness.client(&query), b"");
}
