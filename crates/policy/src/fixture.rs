//! Policies for tests, written as messages.

use std::sync::Arc;

pub(crate) use cilium_proto::cilium as pb;
use cilium_proto::cilium::port_network_policy_rule::{L7, Verdict as PbVerdict};
pub(crate) use cilium_proto::envoy::config::route::v3::HeaderMatcher as PbMatcher;
pub(crate) use cilium_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier as Test;
use prost::Message;

use crate::{EndpointPolicy, PolicyMap, Rejected, Snapshot, Update, UpdateKind};

pub(crate) const IP: &str = "10.1.2.3";

pub(crate) fn rule(name: &str, remotes: &[u32]) -> pb::PortNetworkPolicyRule {
    pb::PortNetworkPolicyRule { name: name.to_owned(), remote_policies: remotes.to_vec(), ..Default::default() }
}

pub(crate) fn deny(rule: pb::PortNetworkPolicyRule) -> pb::PortNetworkPolicyRule {
    pb::PortNetworkPolicyRule { verdict: Some(PbVerdict::Deny(true)), ..rule }
}

pub(crate) fn pass(to: u32, rule: pb::PortNetworkPolicyRule) -> pb::PortNetworkPolicyRule {
    pb::PortNetworkPolicyRule { verdict: Some(PbVerdict::PassPrecedence(to)), ..rule }
}

pub(crate) fn at(precedence: u32, rule: pb::PortNetworkPolicyRule) -> pb::PortNetworkPolicyRule {
    pb::PortNetworkPolicyRule { precedence, ..rule }
}

pub(crate) fn http(
    rules: Vec<pb::HttpNetworkPolicyRule>,
    rule: pb::PortNetworkPolicyRule,
) -> pb::PortNetworkPolicyRule {
    pb::PortNetworkPolicyRule { l7: Some(L7::HttpRules(pb::HttpNetworkPolicyRules { http_rules: rules })), ..rule }
}

pub(crate) fn headers(matchers: Vec<PbMatcher>) -> pb::HttpNetworkPolicyRule {
    pb::HttpNetworkPolicyRule { headers: matchers, header_matches: Vec::new() }
}

pub(crate) fn actions(header_matches: Vec<pb::HeaderMatch>) -> pb::HttpNetworkPolicyRule {
    pb::HttpNetworkPolicyRule { headers: Vec::new(), header_matches }
}

pub(crate) fn header(name: &str, test: Test) -> PbMatcher {
    PbMatcher { name: name.to_owned(), header_match_specifier: Some(test), ..Default::default() }
}

pub(crate) fn path(path: &str) -> pb::HttpNetworkPolicyRule {
    headers(vec![header(":path", Test::ExactMatch(path.to_owned()))])
}

pub(crate) fn range(port: u32, end_port: u32, rules: Vec<pb::PortNetworkPolicyRule>) -> pb::PortNetworkPolicy {
    pb::PortNetworkPolicy { port, end_port, rules, ..Default::default() }
}

pub(crate) fn port(port: u32, rules: Vec<pb::PortNetworkPolicyRule>) -> pb::PortNetworkPolicy {
    range(port, 0, rules)
}

pub(crate) fn policy(id: u64, ips: &[&str], ingress: Vec<pb::PortNetworkPolicy>) -> pb::NetworkPolicy {
    pb::NetworkPolicy {
        endpoint_ips: ips.iter().map(ToString::to_string).collect(),
        endpoint_id: id,
        ingress_per_port_policies: ingress,
        egress_per_port_policies: Vec::new(),
    }
}

/// A map with one policy, for ingress of [`IP`].
pub(crate) fn map(ingress: Vec<pb::PortNetworkPolicy>) -> (PolicyMap, Arc<EndpointPolicy>) {
    let mut map = PolicyMap::new();
    let snapshot = full(&mut map, &[("web", policy(1, &[IP], ingress))]).unwrap();
    let policy = Arc::clone(snapshot.endpoint(IP).unwrap());
    (map, policy)
}

pub(crate) fn refused(ingress: Vec<pb::PortNetworkPolicy>) -> Rejected {
    full(&mut PolicyMap::new(), &[("web", policy(1, &[IP], ingress))]).unwrap_err()
}

pub(crate) fn full(map: &mut PolicyMap, resources: &[(&str, pb::NetworkPolicy)]) -> Result<Arc<Snapshot>, Rejected> {
    update(map, UpdateKind::Full, false, resources, &[])
}

pub(crate) fn delta(
    map: &mut PolicyMap,
    resources: &[(&str, pb::NetworkPolicy)],
    removed: &[&str],
) -> Result<Arc<Snapshot>, Rejected> {
    update(map, UpdateKind::Delta, false, resources, removed)
}

pub(crate) fn update(
    map: &mut PolicyMap,
    kind: UpdateKind,
    new_stream: bool,
    resources: &[(&str, pb::NetworkPolicy)],
    removed: &[&str],
) -> Result<Arc<Snapshot>, Rejected> {
    let bytes: Vec<_> = resources.iter().map(|(name, message)| (*name, message.encode_to_vec())).collect();
    let upserts: Vec<_> = bytes.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    map.update(&Update { version: "7", kind, new_stream, upserts: &upserts, removed })
}
