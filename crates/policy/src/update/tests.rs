use std::sync::Arc;

use crate::fixture::*;
use crate::{PolicyMap, Update, UpdateKind, limits};

fn simple(id: u64, ips: &[&str]) -> pb::NetworkPolicy {
    policy(id, ips, vec![port(80, vec![rule("r", &[43])])])
}

#[test]
fn a_full_update_replaces_everything() {
    let mut map = PolicyMap::new();
    full(&mut map, &[("1", simple(1, &["10.0.0.1"])), ("2", simple(2, &["10.0.0.2", "f00d::2"]))]).unwrap();
    let snapshot = full(&mut map, &[("2", simple(2, &["10.0.0.2"]))]).unwrap();
    let names: Vec<_> = snapshot.endpoints().map(|(name, _)| name).collect();
    assert_eq!((names, snapshot.version()), (vec!["10.0.0.2"], "7"));
}

#[test]
fn a_delta_changes_what_it_names() {
    let mut map = PolicyMap::new();
    let first = full(&mut map, &[("1", simple(1, &["10.0.0.1"])), ("2", simple(2, &["10.0.0.2"]))]).unwrap();
    let second = delta(&mut map, &[("3", simple(3, &["10.0.0.3"]))], &["1", "unknown"]).unwrap();
    assert!(second.endpoint("10.0.0.1").is_none() && second.endpoint("10.0.0.3").is_some());
    assert!(Arc::ptr_eq(first.endpoint("10.0.0.2").unwrap(), second.endpoint("10.0.0.2").unwrap()));
    assert!(first.endpoint("10.0.0.1").is_some(), "old snapshots stay as they were");
}

#[test]
fn an_address_that_is_left_out_goes() {
    let mut map = PolicyMap::new();
    delta(&mut map, &[("1", simple(1, &["10.0.0.1", "f00d::1"]))], &[]).unwrap();
    let snapshot = delta(&mut map, &[("1", simple(1, &["f00d::1"]))], &[]).unwrap();
    assert!(snapshot.endpoint("10.0.0.1").is_none() && snapshot.endpoint("f00d::1").is_some());
    let snapshot = delta(&mut map, &[("10.0.0.1", simple(1, &["f00d::1"]))], &["1"]).unwrap();
    assert_eq!(snapshot.endpoint("f00d::1").unwrap().resource(), "10.0.0.1");
}

#[test]
fn unchanged_resources_and_equal_parts_are_one_object() {
    let mut map = PolicyMap::new();
    let first = full(&mut map, &[("1", simple(1, &["10.0.0.1"])), ("2", simple(2, &["10.0.0.2"]))]).unwrap();
    let second = full(&mut map, &[("1", simple(1, &["10.0.0.1"])), ("2", simple(3, &["10.0.0.2"]))]).unwrap();
    let get = |snapshot: &crate::Snapshot, ip| Arc::clone(snapshot.endpoint(ip).unwrap());
    assert!(Arc::ptr_eq(&get(&first, "10.0.0.1"), &get(&second, "10.0.0.1")));
    assert!(!Arc::ptr_eq(&get(&first, "10.0.0.2"), &get(&second, "10.0.0.2")));
    let table = |ip| std::ptr::from_ref(get(&second, ip).table(crate::Direction::Ingress));
    assert_eq!(table("10.0.0.1"), table("10.0.0.2"));
}

#[test]
fn a_new_stream_reuses_and_keeps_nothing() {
    let mut map = PolicyMap::new();
    let first = full(&mut map, &[("1", simple(1, &["10.0.0.1"])), ("2", simple(2, &["10.0.0.2"]))]).unwrap();
    let again = [("1", simple(1, &["10.0.0.1"]))];
    let bad = [("", simple(1, &["10.0.0.1"]))];
    assert!(update(&mut map, UpdateKind::Delta, true, &bad, &[]).is_err());
    assert!(map.snapshot().endpoint("10.0.0.2").is_some(), "until an update is accepted, all stays");
    let second = update(&mut map, UpdateKind::Delta, true, &again, &[]).unwrap();
    assert!(second.endpoint("10.0.0.2").is_none());
    assert!(!Arc::ptr_eq(first.endpoint("10.0.0.1").unwrap(), second.endpoint("10.0.0.1").unwrap()));
}

#[test]
fn a_refused_update_changes_nothing() {
    let mut map = PolicyMap::new();
    let before = full(&mut map, &[("1", simple(1, &["10.0.0.1"]))]).unwrap();
    let bad = [("2", simple(2, &["10.0.0.2"])), ("3", simple(0, &["10.0.0.3"]))];
    for kind in [UpdateKind::Full, UpdateKind::Delta] {
        assert!(update(&mut map, kind, false, &bad, &["1"]).is_err());
        assert!(Arc::ptr_eq(&before, &map.snapshot()));
    }
}

#[test]
fn names_and_addresses_are_one_name_space() {
    let mut map = PolicyMap::new();
    full(&mut map, &[("a", simple(1, &["10.0.0.1"]))]).unwrap();
    for (name, resource) in [
        ("b", simple(2, &["10.0.0.1"])),
        ("b", simple(2, &["a"])),
        ("b", simple(2, &["b"])),
        ("10.0.0.1", simple(2, &["10.0.0.2"])),
        ("b", simple(2, &["10.0.0.2", "10.0.0.2"])),
    ] {
        let rejected = delta(&mut map, &[(name, resource)], &[]).unwrap_err();
        assert!(rejected.to_string().contains("has duplicate resource key '"), "{rejected}");
        assert!(rejected.to_string().contains("on an old stream"), "{rejected}");
    }
    let rejected = delta(&mut map, &[], &["10.0.0.1"]).unwrap_err();
    assert!(rejected.to_string().contains("is a policy endpoint IP alias, not a resource name"));
}

#[test]
fn messages_name_resource_endpoint_and_field() {
    let mut map = PolicyMap::new();
    let wrong = policy(42, &["10.0.0.1"], vec![port(80, vec![]), port(70_000, vec![])]);
    let rejected = full(&mut map, &[("web", wrong)]).unwrap_err();
    assert_eq!(
        rejected.to_string(),
        "resource \"web\" (endpoint_id 42, endpoint_ips [10.0.0.1]), field ingress_per_port_policies[1].port: 70000 is \
         above 65535"
    );
    for (resource, field) in [
        (policy(1, &[], vec![]), "endpoint_ips"),
        (policy(1, &["a", "b", "c"], vec![]), "endpoint_ips"),
        (policy(1, &["a", ""], vec![]), "endpoint_ips[1]"),
        (policy(0, &["a"], vec![]), "endpoint_id"),
    ] {
        assert_eq!(full(&mut map, &[("web", resource)]).unwrap_err().field(), Some(field));
    }
    for name in ["", "a b", "a\x0b"] {
        assert!(full(&mut map, &[(name, simple(1, &["10.0.0.1"]))]).is_err(), "{name:?}");
    }
}

#[test]
fn bytes_that_are_no_policy_are_refused() {
    for bytes in [&b"\xff"[..], b"\x1a\x7f", b"\x08\x01", b"\x0a\x01\xff", b"\x1a\x02\x1a\x7f\x0a\x01a\x10\x01"] {
        let upserts = [("1", bytes)];
        let update =
            Update { version: "1", kind: UpdateKind::Full, new_stream: false, upserts: &upserts, removed: &[] };
        assert_eq!(PolicyMap::new().update(&update).unwrap_err().resource(), Some("1"), "{bytes:?}");
    }
}

#[test]
fn secrets_are_listed_while_policies_use_them() {
    let mut map = PolicyMap::new();
    let secret =
        |name: &str| pb::HeaderMatch { name: "x".to_owned(), value_sds_secret: name.to_owned(), ..Default::default() };
    let uses = vec![port(80, vec![http(vec![actions(vec![secret("b"), secret("a")])], rule("r", &[]))])];
    full(&mut map, &[("1", policy(1, &["10.0.0.1"], uses))]).unwrap();
    assert_eq!(map.secret_names(), ["a", "b"]);
    full(&mut map, &[]).unwrap();
    assert!(map.secret_names().is_empty());
}

#[test]
fn a_map_with_entries_in_another_order_is_the_same_rule() {
    use prost::Message;
    let entry = |key: &str| [&[0x0a, 6][..], &[0x0a, 1], key.as_bytes(), &[0x12, 1, b'v']].concat();
    let with = |first: &str, second: &str| {
        let generic = [entry(first), entry(second)].concat();
        let field = |tag: &[u8], body: Vec<u8>| [tag.to_vec(), vec![u8::try_from(body.len()).unwrap()], body].concat();
        let rule = field(&[0xb2, 0x06], field(&[0x0a], generic));
        [policy(1, &["10.0.0.1"], vec![]).encode_to_vec(), field(&[0x1a], [vec![8, 80], field(&[0x1a], rule)].concat())]
            .concat()
    };
    let mut map = PolicyMap::new();
    let mut apply = |bytes: Vec<u8>| {
        let upserts = [("1", bytes.as_slice())];
        let kind = UpdateKind::Full;
        map.update(&Update { version: "1", kind, new_stream: false, upserts: &upserts, removed: &[] }).unwrap()
    };
    let (first, second) = (apply(with("a", "b")), apply(with("b", "a")));
    assert!(Arc::ptr_eq(first.endpoint("10.0.0.1").unwrap(), second.endpoint("10.0.0.1").unwrap()));
}

#[test]
fn rules_of_different_remotes_share_their_http_rules() {
    let alternatives = || vec![path("/a"), path("/b")];
    let rules = [43, 44].map(|remote| http(alternatives(), rule("r", &[remote])));
    let (_, policy) = map(vec![port(80, rules.to_vec())]);
    let entries = &policy.table(crate::Direction::Ingress).entries;
    let [first, second] = &*entries[0].rules else { panic!("two rules") };
    assert!(!Arc::ptr_eq(first, second) && Arc::ptr_eq(&first.http, &second.http));
}

/// A decoder takes the last kind of L7 rules, and joins what has the same kind.
#[test]
fn l7_rules_that_come_twice_are_read_as_decoders_read_them() {
    use prost::Message;
    let field = |tag: &[u8], body: &[u8]| [tag, &[u8::try_from(body.len()).unwrap()], body].concat();
    let alternatives = |list: Vec<&str>| {
        pb::HttpNetworkPolicyRules { http_rules: list.into_iter().map(path).collect() }.encode_to_vec()
    };
    let (http, kafka) = (&[0xa2, 0x06][..], &[0xaa, 0x06][..]);
    let topic =
        pb::KafkaNetworkPolicyRules { kafka_rules: vec![pb::KafkaNetworkPolicyRule::default()] }.encode_to_vec();
    let mut map = PolicyMap::new();
    for (parts, count) in [
        ([field(http, &alternatives(vec!["/a"])), field(http, &alternatives(vec!["/b", "/c"]))], 3),
        ([field(http, &alternatives(vec!["/a"])), field(kafka, &topic)], 0),
        ([field(kafka, &topic), field(http, &alternatives(vec!["/a"]))], 1),
    ] {
        let entry = [vec![8, 80], field(&[0x1a], &parts.concat())].concat();
        let bytes = [policy(1, &[IP], vec![]).encode_to_vec(), field(&[0x1a], &entry)].concat();
        let upserts = [("1", bytes.as_slice())];
        let kind = UpdateKind::Full;
        let update = Update { version: "1", kind, new_stream: false, upserts: &upserts, removed: &[] };
        let snapshot = map.update(&update).unwrap();
        let rules = &snapshot.endpoint(IP).unwrap().table(crate::Direction::Ingress).entries[0].rules;
        assert_eq!(rules[0].http.len(), count);
    }
}

#[test]
fn sizes_beyond_the_limits_are_refused_and_change_nothing() {
    let empty = || rule("", &[]);
    let crowded: Vec<_> = (1..=2100).map(|number| port(number, vec![])).collect();
    let overlapping = range(1, 65_535, vec![empty(); 2000]);
    for (ingress, problem, field) in [
        (vec![port(80, vec![]); limits::MAX_ENTRIES + 1], "more than 65536 entries", "ingress_per_port_policies"),
        (
            vec![port(80, vec![empty(); limits::MAX_RULES + 1])],
            "more than 65536 rules",
            "ingress_per_port_policies[0].rules",
        ),
        (
            [vec![overlapping], crowded].concat(),
            "overlapping entries make more than 4000000 rules",
            "ingress_per_port_policies",
        ),
    ] {
        let (mut map, before) = map(vec![port(80, vec![])]);
        let rejected = full(&mut map, &[("web", policy(2, &[IP], ingress))]).unwrap_err();
        assert_eq!((rejected.problem(), rejected.field()), (problem, Some(field)));
        assert!(Arc::ptr_eq(map.snapshot().endpoint(IP).unwrap(), &before));
    }
}

#[test]
fn a_resource_has_a_largest_size() {
    let bytes = vec![0; limits::MAX_RESOURCE + 1];
    let upserts = [("big", bytes.as_slice())];
    let update = Update { version: "1", kind: UpdateKind::Full, new_stream: false, upserts: &upserts, removed: &[] };
    let rejected = PolicyMap::new().update(&update).unwrap_err();
    assert_eq!(rejected.resource(), Some("big"));
    assert!(rejected.problem().contains("67108864"), "{rejected}");
}
