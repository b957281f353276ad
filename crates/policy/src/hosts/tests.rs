use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::hosts::levels::Address;

fn hosts(identity: u64, addresses: &[&str]) -> Vec<u8> {
    let host_addresses = addresses.iter().map(ToString::to_string).collect();
    NetworkPolicyHosts { policy: identity, host_addresses }.encode_to_vec()
}

fn apply(
    map: &HostMap,
    kind: UpdateKind,
    new_stream: bool,
    resources: &[(u64, &[&str])],
    removed: &[&str],
) -> Result<HostMap, Rejected> {
    let encoded: Vec<_> = resources.iter().map(|(id, list)| (id.to_string(), hosts(*id, list))).collect();
    let upserts: Vec<_> = encoded.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    map.update(&HostUpdate { version: "1", kind, new_stream, upserts: &upserts, removed })
}

fn full(resources: &[(u64, &[&str])]) -> Result<HostMap, Rejected> {
    apply(&HostMap::default(), UpdateKind::Full, false, resources, &[])
}

fn resolve(map: &HostMap, address: &str) -> Option<u32> {
    map.resolve(address.parse().unwrap())
}

#[test]
fn the_longest_prefix_wins_and_families_are_apart() {
    let map =
        full(&[(1, &["0.0.0.0/0", "::/0"]), (2, &["10.0.0.0/8", "f00d::/16"]), (3, &["10.1.2.3", "f00d::1"])]).unwrap();
    for (address, identity) in
        [("10.1.2.3", 3), ("10.1.2.4", 2), ("11.0.0.1", 1), ("f00d::1", 3), ("f00d::2", 2), ("::1", 1)]
    {
        assert_eq!(resolve(&map, address), Some(identity), "{address}");
    }
    assert_eq!(resolve(&HostMap::default(), "10.1.2.3"), None);
    assert_eq!(map.len(), 6);
}

#[test]
fn identity_zero_is_nobodys() {
    let map = full(&[(0, &["10.0.0.1"]), (7, &["10.0.0.0/8"])]).unwrap();
    assert_eq!(resolve(&map, "10.0.0.1"), None, "the longest prefix counts, and says nothing");
    assert_eq!(resolve(&map, "10.0.0.2"), Some(7));
}

#[test]
fn a_full_update_replaces_and_a_delta_changes_what_it_names() {
    let map = full(&[(1, &["10.0.0.1", "10.0.0.2"]), (2, &["10.0.0.3"])]).unwrap();
    let changed = apply(&map, UpdateKind::Delta, false, &[(1, &["10.0.0.2", "10.0.0.9"])], &["2", "77"]).unwrap();
    let all: Vec<_> = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9"].map(|a| resolve(&changed, a)).into();
    assert_eq!(all, [None, Some(1), None, Some(1)]);
    assert_eq!(resolve(&map, "10.0.0.3"), Some(2), "the old map is as it was");
    let replaced = apply(&map, UpdateKind::Full, false, &[(3, &["10.0.0.1"])], &["1"]).unwrap();
    assert_eq!((resolve(&replaced, "10.0.0.1"), replaced.len()), (Some(3), 1));
}

#[test]
fn a_new_stream_starts_from_nothing() {
    let map = full(&[(1, &["10.0.0.1"])]).unwrap();
    let fresh = apply(&map, UpdateKind::Delta, true, &[(2, &["10.0.0.2"])], &[]).unwrap();
    assert_eq!((resolve(&fresh, "10.0.0.1"), resolve(&fresh, "10.0.0.2")), (None, Some(2)));
}

#[test]
fn an_address_may_move_to_another_identity_in_one_delta() {
    let map = full(&[(1, &["10.0.0.1"]), (2, &["10.0.0.2"])]).unwrap();
    let moved = apply(&map, UpdateKind::Delta, false, &[(2, &["10.0.0.1"])], &["1"]).unwrap();
    assert_eq!(resolve(&moved, "10.0.0.1"), Some(2));
}

#[test]
fn refused_entries_are_named() {
    for (host, problem) in [
        ("10.0.0.0/33", "NetworkPolicyHosts: Invalid prefix length in '10.0.0.0/33'"),
        ("::/129", "NetworkPolicyHosts: Invalid prefix length in '::/129'"),
        ("10.0.0.0/08", "NetworkPolicyHosts: Invalid prefix length in '10.0.0.0/08'"),
        ("10.0.0.0/", "NetworkPolicyHosts: Invalid prefix length in '10.0.0.0/'"),
        ("10.0.0.0/+8", "NetworkPolicyHosts: Invalid prefix length in '10.0.0.0/+8'"),
        ("10.0.0.1/8", "NetworkPolicyHosts: Non-prefix bits set in '10.0.0.1/8'"),
        ("0.0.0.1/0", "NetworkPolicyHosts: Non-prefix bits set in '0.0.0.1/0'"),
        ("f00d::1/64", "NetworkPolicyHosts: Non-prefix bits set in 'f00d::1/64'"),
        ("host", "NetworkPolicyHosts: Invalid host entry 'host' for policy 1"),
        ("10.0.1", "NetworkPolicyHosts: Invalid host entry '10.0.1' for policy 1"),
        ("", "must not be empty"),
    ] {
        let rejected = full(&[(1, &["192.0.2.1", host])]).unwrap_err();
        assert_eq!(rejected.problem(), problem);
        assert_eq!((rejected.resource(), rejected.field()), (Some("1"), Some("host_addresses[1]")));
    }
}

#[test]
fn an_address_has_one_identity() {
    let rejected = full(&[(1, &["10.0.0.1"]), (2, &["10.0.0.1/32"])]).unwrap_err();
    assert_eq!(
        rejected.problem(),
        "NetworkPolicyHosts: Duplicate host entry '10.0.0.1/32' for policy 2, already mapped to 1"
    );
    assert!(full(&[(1, &["10.0.0.1", "10.0.0.1"])]).is_err());
}

#[test]
fn names_and_identities_are_checked() {
    for name in ["x", "", "-1", "+1", "99999999999999999999"] {
        let rejected = apply(&HostMap::default(), UpdateKind::Delta, false, &[], &[name]).unwrap_err();
        assert_eq!(rejected.problem(), format!("Invalid removed resource name '{name}'"));
    }
    assert_eq!(full(&[(1 << 32, &[])]).unwrap_err().field(), Some("policy"));
    let garbage = HostUpdate {
        version: "1",
        kind: UpdateKind::Full,
        new_stream: false,
        upserts: &[("1", b"\xff")],
        removed: &[],
    };
    assert!(HostMap::default().update(&garbage).unwrap_err().to_string().contains("not a NetworkPolicyHosts message"));
}

proptest! {
    #[test]
    fn resolving_is_as_naive_as_the_definition(
        prefixes in proptest::collection::btree_map((any::<u32>(), 0u32..=32), 1u32..1000, 0..40),
        addresses in proptest::collection::vec(any::<u32>(), 20),
    ) {
        let prefixes: BTreeMap<(u32, u32), u32> =
            prefixes.into_iter().map(|((bits, length), id)| ((bits & u32::mask(length), length), id)).collect();
        let mut map = HostMap::default();
        for (&(bits, length), &identity) in &prefixes {
            prop_assert_eq!(map.v4.insert(bits, length, identity), None);
        }
        let known = prefixes.keys().map(|(bits, _)| bits | 1);
        for address in addresses.into_iter().chain(known.collect::<Vec<_>>()) {
            let covering = prefixes.iter().filter(|((bits, length), _)| address & u32::mask(*length) == *bits);
            let expected = covering.max_by_key(|((_, length), _)| *length).map(|(_, identity)| *identity);
            prop_assert_eq!(map.v4.resolve(address), expected);
        }
    }

    #[test]
    fn deltas_lead_where_a_full_update_leads(
        steps in proptest::collection::vec(
            (1u64..7, proptest::option::of(proptest::collection::btree_set(0u8..12, 0..4))),
            0..20,
        ),
    ) {
        let mut state: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut map = HostMap::default();
        for (identity, addresses) in steps {
            // Identities have addresses of their own, so that no step is refused.
            let text = |n| if n % 3 == 0 { format!("f00d::{identity}:{n}") } else { format!("10.0.{identity}.{n}") };
            let removed = identity.to_string();
            map = if let Some(addresses) = addresses {
                let list: Vec<String> = addresses.into_iter().map(text).collect();
                let borrowed: Vec<&str> = list.iter().map(String::as_str).collect();
                let next = apply(&map, UpdateKind::Delta, false, &[(identity, &borrowed)], &[]).unwrap();
                state.insert(identity, list);
                next
            } else {
                state.remove(&identity);
                apply(&map, UpdateKind::Delta, false, &[], &[&removed]).unwrap()
            };
            prop_assert_eq!(map.len(), state.values().map(Vec::len).sum::<usize>());
        }
        for identity in 1..7 {
            for n in 0..12 {
                let address = if n % 3 == 0 { format!("f00d::{identity}:{n}") } else { format!("10.0.{identity}.{n}") };
                let expected = state.get(&identity).is_some_and(|list| list.contains(&address)).then_some(identity);
                prop_assert_eq!(resolve(&map, &address).map(u64::from), expected);
            }
        }
    }
}
