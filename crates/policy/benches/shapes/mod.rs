//! Policies of the sizes that are measured.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::expect_used, reason = "each benchmark uses a part")]

use cilium_policy::{PolicyMap, Snapshot, Update, UpdateKind};
use cilium_proto::cilium as pb;
use cilium_proto::cilium::port_network_policy_rule::L7;
use cilium_proto::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
use cilium_proto::envoy::r#type::matcher::v3::RegexMatcher;
use prost::Message;
use std::sync::Arc;

/// Named resources, serialised.
pub type Resources = Vec<(String, Vec<u8>)>;

/// A policy of one endpoint, for ingress.
pub fn policy(id: u64, ports: Vec<pb::PortNetworkPolicy>) -> (String, Vec<u8>) {
    let ip = format!("10.{}.{}.{}", id >> 16 & 255, id >> 8 & 255, id & 255);
    let message = pb::NetworkPolicy {
        endpoint_ips: vec![ip],
        endpoint_id: id,
        ingress_per_port_policies: ports,
        egress_per_port_policies: Vec::new(),
    };
    (id.to_string(), message.encode_to_vec())
}

pub fn address(id: u64) -> String {
    format!("10.{}.{}.{}", id >> 16 & 255, id >> 8 & 255, id & 255)
}

pub fn port(port: u32, rules: Vec<pb::PortNetworkPolicyRule>) -> pb::PortNetworkPolicy {
    pb::PortNetworkPolicy { port, rules, ..Default::default() }
}

pub fn rule(remotes: Vec<u32>, http: Vec<pb::HttpNetworkPolicyRule>) -> pb::PortNetworkPolicyRule {
    let l7 = (!http.is_empty()).then_some(L7::HttpRules(pb::HttpNetworkPolicyRules { http_rules: http }));
    pb::PortNetworkPolicyRule { remote_policies: remotes, l7, ..Default::default() }
}

/// A method and an exact path.
pub fn exact(path: &str) -> pb::HttpNetworkPolicyRule {
    http(HeaderMatchSpecifier::ExactMatch(path.to_owned()))
}

/// A method and a prefix of the path.
pub fn prefix(path: &str) -> pb::HttpNetworkPolicyRule {
    http(HeaderMatchSpecifier::PrefixMatch(path.to_owned()))
}

fn http(path: HeaderMatchSpecifier) -> pb::HttpNetworkPolicyRule {
    let header = |name: &str, test| HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(test),
        ..Default::default()
    };
    pb::HttpNetworkPolicyRule {
        headers: vec![header(":method", HeaderMatchSpecifier::ExactMatch("GET".to_owned())), header(":path", path)],
        header_matches: Vec::new(),
    }
}

/// Regular expressions for method and path, as in `bench/http/rules.py`. The last one holds for `GET /api/v1/items/42`.
pub fn expressions() -> Vec<pb::HttpNetworkPolicyRule> {
    let regex = |name: &str, regex: String| HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::SafeRegexMatch(RegexMatcher { regex })),
        ..Default::default()
    };
    let kinds = ["users", "orders", "carts"].into_iter();
    let rules = kinds.flat_map(|kind| ["GET", "PUT", "DELETE"].map(|method| (method, kind)));
    rules
        .chain([("GET", "items")])
        .map(|(method, kind)| pb::HttpNetworkPolicyRule {
            headers: vec![regex(":method", method.to_owned()), regex(":path", format!("/api/v[0-9]+/{kind}/[0-9]+"))],
            header_matches: Vec::new(),
        })
        .collect()
}

/// `count` HTTP rules, every second a prefix.
pub fn mixed(count: usize) -> Vec<pb::HttpNetworkPolicyRule> {
    (0..count)
        .map(|n| if n % 2 == 0 { exact(&format!("/exact/{n}")) } else { prefix(&format!("/prefix/{n}/")) })
        .collect()
}

pub fn apply(map: &mut PolicyMap, kind: UpdateKind, resources: &Resources) -> Arc<Snapshot> {
    let upserts: Vec<_> = resources.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let update = Update { version: "1", kind, new_stream: false, upserts: &upserts, removed: &[] };
    map.update(&update).expect("the resources are valid")
}

/// The reference benchmark's: one port, one remote, one rule.
pub fn small(count: u64) -> Resources {
    (1..=count).map(|id| policy(id, vec![port(80, vec![rule(vec![43], vec![exact("/allowed")])])])).collect()
}

/// 20 port rules, 50 identities, 5 HTTP rules. With `distinct`, every endpoint has identities of its own.
pub fn large(count: u64, distinct: bool) -> Resources {
    (1..=count)
        .map(|id| {
            let first = if distinct { u32::try_from(id).unwrap_or(0) * 64 } else { 1000 };
            let ports = (0..20).map(|n| {
                let http = (0..5)
                    .map(|m| if m % 2 == 0 { exact(&format!("/{n}/{m}")) } else { prefix(&format!("/{n}/{m}/")) });
                port(8000 + n, vec![rule((first..first + 50).collect(), http.collect())])
            });
            policy(id, ports.collect())
        })
        .collect()
}
