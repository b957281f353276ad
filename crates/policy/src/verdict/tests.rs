use crate::fixture::*;
use crate::{Direction, EndpointPolicy, HeaderList, HeaderLog, PolicyMap, TlsSide, TlsVerdict};

fn network(policy: &EndpointPolicy, port: u16, remote: u32) -> (bool, String) {
    let verdict = policy.port(Direction::Ingress, port).network(0, remote, "");
    (verdict.allowed, verdict.reason.to_string())
}

fn get(policy: &EndpointPolicy, remote: u32, path: &str) -> (bool, String) {
    let mut headers = HeaderList::from_iter([(":method", "GET"), (":path", path)]);
    let verdict = policy.port(Direction::Ingress, 80).http(0, remote, &mut headers, &mut HeaderLog::default());
    (verdict.allowed, verdict.reason.to_string())
}

fn denied(reason: &str) -> (bool, String) {
    (false, reason.to_owned())
}

#[test]
fn without_a_policy_the_fallback_decides() {
    let snapshot = PolicyMap::new().snapshot();
    let verdict = snapshot.policy("10.9.9.9", false).port(Direction::Egress, 80).network(0, 1, "");
    assert!(!verdict.allowed);
    assert_eq!(verdict.reason.describe("10.9.9.9").to_string(), "no policy for endpoint 10.9.9.9");
    let fallback = snapshot.policy("10.9.9.9", true);
    assert!(fallback.port(Direction::Egress, 80).network(0, 1, "").allowed);
    assert!(!fallback.port(Direction::Ingress, 80).network(0, 1, "").allowed);
    let mut headers = HeaderList::default();
    assert!(
        !snapshot
            .policy("x", false)
            .port(Direction::Egress, 1)
            .http(0, 1, &mut headers, &mut HeaderLog::default())
            .allowed
    );
}

#[test]
fn denials_say_what_was_missing() {
    let rules = vec![http(
        vec![headers(vec![header(":path", Test::PrefixMatch("/public/".to_owned()))])],
        rule("frontend-get", &[42]),
    )];
    let (_, policy) = map(vec![port(80, rules)]);
    assert_eq!(network(&policy, 80, 42), (true, "port 80: allowed by rule \"frontend-get\"".to_owned()));
    assert_eq!(
        network(&policy, 80, 43),
        denied("port 80: identity 43 is not among the remotes of rule \"frontend-get\"")
    );
    assert_eq!(network(&policy, 81, 42), denied("port 81: the policy \"web\" has no ingress rules for it"));
    assert_eq!(
        get(&policy, 42, "/admin"),
        denied("rule \"frontend-get\": path \"/admin\" does not start with \"/public/\"")
    );
}

#[test]
fn a_reason_is_data_too() {
    let (_, policy) = map(vec![port(80, vec![rule("", &[1]), http(vec![path("/a")], rule("near", &[2]))])]);
    let mut headers = HeaderList::from_iter([(":path", "/b")]);
    let verdict = policy.port(Direction::Ingress, 80).http(0, 2, &mut headers, &mut HeaderLog::default());
    let reason = &verdict.reason;
    assert_eq!((reason.code(), reason.rule(), reason.resource()), ("header_mismatch", Some("near"), Some("web")));
    assert_eq!(reason.position().as_deref(), Some("ingress_per_port_policies[0].rules[1]"));
    let failed = reason.failed().unwrap();
    assert_eq!((failed.subject.as_str(), failed.actual.as_deref()), (":path", Some("/b")));
    assert_eq!(reason.to_string(), "rule \"near\": path \"/b\" is not \"/a\" (the nearest of 2 rules)");
    let unnamed = policy.port(Direction::Ingress, 80).network(0, 1, "");
    assert!(unnamed.reason.to_string().contains("rule ingress_per_port_policies[0].rules[0] of \"web\""));
}

#[test]
fn the_nearest_rule_is_the_one_that_got_furthest() {
    let get_item = || headers(vec![header(":method", exact("GET")), header(":path", exact("/item"))]);
    let order = || headers(vec![header(":method", exact("POST"))]);
    let acting = pb::HttpNetworkPolicyRule {
        header_matches: vec![pb::HeaderMatch { name: "x".to_owned(), mismatch_action: 1, ..Default::default() }],
        ..order()
    };
    for other in [order(), acting] {
        let (_, policy) = map(vec![port(
            80,
            vec![
                http(vec![get_item()], rule("item", &[1, 2])),
                http(vec![get_item()], rule("same", &[1, 2])),
                http(vec![get_item(), other.clone()], rule("elsewhere", &[3])),
                http(vec![other], rule("order", &[1, 2])),
            ],
        )]);
        // Single ports reverse the order of their rules.
        let nearest = "rule \"same\": path \"/none\" is not \"/item\" (the nearest of 4 rules)";
        assert_eq!(get(&policy, 1, "/none"), denied(nearest));
    }
}

fn exact(value: &str) -> Test {
    Test::ExactMatch(value.to_owned())
}

#[test]
fn values_of_other_headers_are_not_quoted() {
    let matcher = header("authorization", Test::ExactMatch("token".to_owned()));
    let (_, policy) = map(vec![port(80, vec![http(vec![headers(vec![matcher])], rule("r", &[]))])]);
    let mut request = HeaderList::from_iter([("authorization", "hunter2")]);
    let verdict = policy.port(Direction::Ingress, 80).http(0, 1, &mut request, &mut HeaderLog::default());
    let text = format!("{} {:?}", verdict.reason, verdict.reason.failed());
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn higher_precedence_wins_whatever_the_verdict() {
    let (_, policy) = map(vec![port(
        80,
        vec![deny(rule("deny", &[])), at(10, rule("allow", &[43])), at(20, deny(rule("first", &[44])))],
    )]);
    assert!(network(&policy, 80, 43).0);
    assert_eq!(network(&policy, 80, 44), denied("port 80: denied by rule \"first\""));
    assert_eq!(network(&policy, 80, 45), denied("port 80: denied by rule \"deny\""));
}

#[test]
fn deny_wins_at_one_precedence() {
    let (_, policy) = map(vec![port(80, vec![rule("allow", &[43]), deny(rule("deny", &[43]))])]);
    assert!(!network(&policy, 80, 43).0);
}

#[test]
fn a_pass_skips_the_rest_of_its_tier() {
    let (_, policy) = map(vec![port(
        80,
        vec![at(100, pass(50, rule("pass", &[43]))), at(60, deny(rule("skipped", &[]))), at(10, rule("below", &[43]))],
    )]);
    assert_eq!(network(&policy, 80, 43), (true, "port 80: allowed by rule \"below\"".to_owned()));
    assert!(!network(&policy, 80, 44).0);
}

#[test]
fn a_range_that_only_passes_denies() {
    let (_, policy) = map(vec![port(80, vec![at(100, pass(50, rule("pass", &[])))])]);
    assert_eq!(network(&policy, 80, 43).1, "port 80: the policy \"web\" has no ingress rules for it");
}

#[test]
fn tiers_that_contradict_each_other_are_refused() {
    let rejected = refused(vec![port(80, vec![at(100, pass(50, rule("", &[1]))), at(90, pass(40, rule("", &[2])))])]);
    assert_eq!(rejected.problem(), "PortNetworkPolicy: Inconsistent pass precedence 40 != 50");
    assert_eq!(rejected.field(), Some("ingress_per_port_policies"));
    let rejected = refused(vec![port(80, vec![at(10, pass(20, rule("", &[])))])]);
    assert_eq!(rejected.problem(), "PortNetworkPolicyRule: pass_precedence 20 must be lower than precedence 10");
}

#[test]
fn a_rule_counts_for_its_listener_only() {
    let scoped = pb::PortNetworkPolicyRule { proxy_id: 7, ..rule("listener", &[]) };
    let (_, policy) = map(vec![port(80, vec![scoped])]);
    let port = policy.port(Direction::Ingress, 80);
    assert!(port.network(7, 1, "").allowed);
    let verdict = port.network(8, 1, "");
    assert_eq!(verdict.reason.to_string(), "port 80: rule \"listener\" is for the listener with proxy id 7, not 8");
}

#[test]
fn server_names_restrict_connections() {
    let names = vec!["*.example.com".to_owned()];
    let (_, policy) = map(vec![port(443, vec![pb::PortNetworkPolicyRule { server_names: names, ..rule("tls", &[]) }])]);
    let port = policy.port(Direction::Ingress, 443);
    assert!(port.network(0, 1, "WWW.example.com").allowed);
    assert_eq!(
        port.network(0, 1, "example.com").reason.to_string(),
        "port 443: server name \"example.com\" is not among those of rule \"tls\""
    );
    assert_eq!(
        port.network(0, 1, "").reason.to_string(),
        "port 443: rule \"tls\" wants a server name, and the client sent none"
    );
}

#[test]
fn the_parser_is_that_of_the_first_rule_that_has_one() {
    let with = |proto: &str, rule| pb::PortNetworkPolicyRule { l7_proto: proto.to_owned(), ..rule };
    let (_, policy) = map(vec![port(80, vec![rule("", &[43]), with("kafka", rule("", &[43])), deny(rule("", &[44]))])]);
    let port = policy.port(Direction::Ingress, 80);
    assert_eq!([43, 44, 45].map(|remote| port.l7_parser(0, remote)), [Some("kafka"), None, None]);
}

#[test]
fn tls_contexts_are_found_past_rules_without_one() {
    let context = pb::TlsContext { tls_sds_secret: "cert".to_owned(), ..Default::default() };
    let with = |rule| pb::PortNetworkPolicyRule { downstream_tls_context: Some(context.clone()), ..rule };
    let (_, policy) = map(vec![port(
        443,
        vec![at(9, rule("plain", &[1, 2])), at(5, with(rule("tls", &[1]))), at(1, deny(rule("deny", &[])))],
    )]);
    let port = policy.port(Direction::Ingress, 443);
    let tls = |side, remote| port.tls(side, 0, remote, "");
    assert!(matches!(tls(TlsSide::Server, 1), TlsVerdict::Context(found) if found.tls_sds_secret == "cert"));
    assert!(matches!(tls(TlsSide::Client, 1), TlsVerdict::Raw));
    assert!(matches!(tls(TlsSide::Server, 2), TlsVerdict::Raw));
    assert!(matches!(tls(TlsSide::Server, 3), TlsVerdict::Refused(reason) if reason.rule() == Some("deny")));
}

#[test]
fn payload_rules_are_handed_out_in_order() {
    let kafka = pb::KafkaNetworkPolicyRules {
        kafka_rules: vec![pb::KafkaNetworkPolicyRule { topic: "t".to_owned(), ..Default::default() }],
    };
    let l7 = Some(pb::port_network_policy_rule::L7::KafkaRules(kafka));
    let (_, policy) =
        map(vec![port(9092, vec![pb::PortNetworkPolicyRule { l7, ..rule("k", &[1]) }, deny(rule("d", &[1, 2]))])]);
    let rules: Vec<_> = policy.port(Direction::Ingress, 9092).l7_rules(0, 1).unwrap().collect();
    assert_eq!(
        rules.iter().map(|rule| (rule.deny, rule.name)).collect::<Vec<_>>(),
        [(true, Some("d")), (false, Some("k"))]
    );
    assert!(matches!(rules[1].rules, crate::L7RuleSet::Kafka(kafka) if kafka[0].topic == "t"));
    assert!(policy.port(Direction::Ingress, 1).l7_rules(0, 1).is_none());
}
