//! An allow allocates nothing.

use allocation_counter::measure;
use cilium_policy::{Direction, HeaderList, HeaderLog, PolicyMap, Update, UpdateKind};
use cilium_proto::cilium as pb;
use cilium_proto::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
use prost::Message;

fn policy(count: usize) -> Vec<u8> {
    let http = |n| pb::HttpNetworkPolicyRule {
        headers: vec![HeaderMatcher {
            name: ":path".to_owned(),
            header_match_specifier: Some(if n % 2 == 0 {
                HeaderMatchSpecifier::ExactMatch(format!("/{n}"))
            } else {
                HeaderMatchSpecifier::PrefixMatch(format!("/{n}/"))
            }),
            ..Default::default()
        }],
        header_matches: Vec::new(),
    };
    let rules = pb::HttpNetworkPolicyRules { http_rules: (0..count).map(http).collect() };
    let rule = pb::PortNetworkPolicyRule {
        remote_policies: (1..=100).collect(),
        l7: Some(pb::port_network_policy_rule::L7::HttpRules(rules)),
        ..Default::default()
    };
    pb::NetworkPolicy {
        endpoint_ips: vec!["10.0.0.1".to_owned()],
        endpoint_id: 1,
        ingress_per_port_policies: vec![pb::PortNetworkPolicy { port: 80, rules: vec![rule], ..Default::default() }],
        egress_per_port_policies: Vec::new(),
    }
    .encode_to_vec()
}

#[test]
fn an_allow_allocates_nothing() {
    for count in [4, 1000] {
        let bytes = policy(count);
        let mut map = PolicyMap::new();
        let update =
            Update { version: "1", kind: UpdateKind::Full, new_stream: false, upserts: &[("1", &bytes)], removed: &[] };
        let snapshot = map.update(&update).unwrap();
        for path in ["/0", "/2", "/3/x"] {
            let mut headers = HeaderList::from_iter([(":method", "GET"), (":path", path)]);
            let counts = measure(|| {
                let port = snapshot.policy("10.0.0.1", false).port(Direction::Ingress, 80);
                assert!(port.network(0, 7, "a.example").allowed);
                assert!(port.http(0, 7, &mut headers, &mut HeaderLog::default()).allowed);
            });
            assert_eq!(counts.count_total, 0, "{count} rules, {path}");
        }
    }
}
