use cilium_proto::envoy::r#type::matcher::v3::RegexMatcher;
use proptest::prelude::*;

use crate::compile::Candidates;
use crate::fixture::*;
use crate::{Direction, EndpointPolicy, PolicyMap};

/// Remotes of the rules at a port, in evaluation order; `None`: no rules for the port.
fn remotes(policy: &EndpointPolicy, port: u16) -> Option<Vec<u32>> {
    let (_, rules) = policy.table(Direction::Ingress).find(port)?;
    Some(rules.rules.iter().map(|at| at.rule.remotes.as_slice().first().copied().unwrap_or(0)).collect())
}

#[test]
fn single_ports_go_before_ranges_and_every_port_comes_last() {
    let (_, policy) = map(vec![
        range(70, 90, vec![rule("", &[1])]),
        port(80, vec![rule("", &[2]), rule("", &[3])]),
        port(0, vec![rule("", &[4])]),
        range(80, 81, vec![rule("", &[5])]),
    ]);
    assert_eq!(remotes(&policy, 80), Some(vec![3, 2, 1, 5, 4]));
    assert_eq!(remotes(&policy, 81), Some(vec![1, 5, 4]));
    assert_eq!(remotes(&policy, 70), Some(vec![1, 4]));
    assert_eq!(remotes(&policy, 69), Some(vec![4]));
}

#[test]
fn an_entry_without_rules_keeps_its_meaning_when_merged() {
    let allows = |entries: Vec<pb::PortNetworkPolicy>| {
        map(entries).1.port(Direction::Ingress, 80).network(0, 99, "").reason.code()
    };
    assert_eq!(allows(vec![port(80, vec![])]), "allowed_by_port");
    assert_eq!(allows(vec![port(80, vec![]), port(80, vec![rule("", &[1])])]), "allowed_by_rule");
    assert_eq!(allows(vec![range(80, 81, vec![rule("", &[1])]), range(80, 82, vec![])]), "allowed_by_rule");
    assert_eq!(allows(vec![port(80, vec![rule("", &[1])]), port(0, vec![])]), "allowed_by_rule");
    assert_eq!(allows(vec![port(80, vec![]), port(0, vec![deny(rule("", &[98]))])]), "allowed_by_rule");
}

#[test]
fn udp_entries_have_no_effect() {
    let udp = pb::PortNetworkPolicy { protocol: 1, ..port(80, vec![]) };
    assert_eq!(remotes(&map(vec![udp]).1, 80), None);
}

#[test]
fn of_udp_rules_only_the_fields_are_checked() {
    use pb::port_network_policy_rule::Verdict;
    let udp = |rule| vec![pb::PortNetworkPolicy { protocol: 1, ..port(80, vec![rule]) }];
    let regex = |pattern: &str| {
        let regex = RegexMatcher { regex: pattern.to_owned() };
        http(vec![headers(vec![header(":path", Test::SafeRegexMatch(regex))])], rule("", &[]))
    };
    let names = |name: &str| pb::PortNetworkPolicyRule { server_names: vec![name.to_owned()], ..rule("", &[]) };
    let pass = pb::PortNetworkPolicyRule { verdict: Some(Verdict::PassPrecedence(1)), ..rule("", &[]) };
    let tls = pb::PortNetworkPolicyRule { downstream_tls_context: Some(pb::TlsContext::default()), ..rule("", &[]) };
    for rule in [pass, tls, regex("(")] {
        assert!(full(&mut PolicyMap::new(), &[("web", policy(1, &[IP], udp(rule.clone())))]).is_ok(), "{rule:?}");
        refused(vec![port(80, vec![rule])]);
    }
    let proxy = pb::PortNetworkPolicyRule { proxy_id: 70_000, ..rule("", &[]) };
    for (rule, field) in [
        (proxy, "proxy_id"),
        (names(""), "server_names[0]"),
        (names("a**b"), "server_names[0]"),
        (regex(""), "http_rules.http_rules[0].headers[0].safe_regex_match.regex"),
    ] {
        let path = format!("ingress_per_port_policies[0].rules[0].{field}");
        assert_eq!(refused(udp(rule)).field(), Some(path.as_str()));
    }
}

#[test]
fn ranges_are_checked() {
    for (first, last, field) in [(80, 79, "end_port"), (0, 80, "port"), (70_000, 0, "port"), (1, 70_000, "end_port")] {
        let rejected = refused(vec![range(first, last, vec![])]);
        assert_eq!(rejected.field(), Some(format!("ingress_per_port_policies[0].{field}").as_str()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Splitting and merging against a fold over the entries that cover one port.
    #[test]
    fn every_port_has_the_rules_of_the_entries_that_cover_it(
        entries in proptest::collection::vec((0u32..8, 0u32..4, 0usize..3), 0..6),
        last_ports in any::<bool>(),
    ) {
        let offset = if last_ports { 65_528 } else { 0 };
        let mut next = 0;
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(first, more, count)| {
                let rules = (0..count).map(|_| { next += 1; rule("", &[next]) }).collect();
                let first = if first == 0 { 0 } else { first + offset };
                let last = if first == 0 { 0 } else { (first + more).min(65_535) };
                range(first, last, rules)
            })
            .collect();
        let (_, policy) = map(entries.clone());
        for port in (0..12).map(|port| port + offset).filter(|port| *port <= 65_535).chain([0]) {
            prop_assert_eq!(remotes(&policy, u16::try_from(port).unwrap()), naive(&entries, port), "port {}", port);
        }
    }

    /// The table of remotes against the rules' own sets.
    #[test]
    fn candidates_are_the_rules_that_hold_the_remote(
        sets in proptest::collection::vec(proptest::collection::vec(0u32..40, 0..20), 1..20),
    ) {
        let (_, policy) = map(vec![port(80, sets.iter().map(|set| rule("", set)).collect())]);
        let (_, rules) = policy.table(Direction::Ingress).find(80).unwrap();
        for remote in (0..42).chain([u32::MAX, u32::MAX - 1]) {
            let expected: Vec<usize> =
                (0..rules.rules.len()).filter(|&index| rules.rules[index].rule.remotes.contains(remote)).collect();
            let found: Vec<usize> = match rules.remotes.find(remote) {
                Candidates::Mask(mask) => {
                    (0..rules.rules.len()).filter(|&index| mask >> rules.rules[index].set & 1 != 0).collect()
                }
                Candidates::Listed(class) => class.rules.iter().map(|&index| index as usize).collect(),
            };
            prop_assert_eq!(found, expected);
        }
    }
}

/// One port at a time, entry by entry. 0 stands for the rule that allows all.
fn naive(entries: &[pb::PortNetworkPolicy], port: u32) -> Option<Vec<u32>> {
    let fold = |covers: &dyn Fn(&pb::PortNetworkPolicy) -> bool| {
        let mut merged: Option<Vec<u32>> = None;
        for entry in entries.iter().filter(|entry| covers(entry)) {
            let single = entry.end_port <= entry.port;
            let rules: Vec<u32> = entry.rules.iter().map(|rule| rule.remote_policies[0]).collect();
            let mut list = merged.take().map_or_else(Vec::new, |mut list| {
                if list.is_empty() != rules.is_empty() {
                    list.insert(if single { 0 } else { list.len() }, 0);
                }
                list
            });
            for rule in rules {
                list.insert(if single { 0 } else { list.len() }, rule);
            }
            merged = Some(list);
        }
        merged
    };
    let every = fold(&|entry| entry.port == 0);
    let own = fold(&|entry| entry.port != 0 && entry.port <= port && port <= entry.end_port.max(entry.port));
    match (own, every) {
        (Some(mut own), Some(every)) => {
            if own.is_empty() != every.is_empty() {
                own.push(0);
            }
            own.extend(every);
            Some(own)
        }
        (own, every) => own.or(every),
    }
}
