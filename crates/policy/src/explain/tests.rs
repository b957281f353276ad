use cilium_proto::envoy::r#type::matcher::v3::RegexMatcher;
use proptest::prelude::*;
use proptest::sample::select;

use crate::fixture::*;
use crate::{Direction, HeaderList, HeaderLog, PolicyMap, Question};

const PATHS: [&str; 6] = ["/a", "/b", "/c", "/a/b", "/public/x", "/"];

fn http_rule() -> impl Strategy<Value = pb::HttpNetworkPolicyRule> {
    let test = (select(&PATHS[..]), 0..6).prop_map(|(path, kind)| {
        let path = path.to_owned();
        match kind {
            0 => Test::PrefixMatch(path),
            1 => Test::ContainsMatch(path),
            2 => Test::SafeRegexMatch(RegexMatcher { regex: format!("{path}.*") }),
            _ => Test::ExactMatch(path),
        }
    });
    let method = proptest::option::of(select(&["GET", "PUT"][..]));
    let matchers = (test, method, any::<bool>(), 0..8).prop_map(|(test, method, invert, rare)| {
        let mut path = header(":path", test);
        path.invert_match = invert && rare == 0;
        let method = method.map(|method| header(":method", Test::ExactMatch(method.to_owned())));
        headers(method.into_iter().chain([path]).collect())
    });
    let actions = (select(&["x", "y"][..]), select(&["", "1"][..]), 0..3, 0..5).prop_map(|(name, value, on, off)| {
        let (name, value) = (name.to_owned(), value.to_owned());
        actions(vec![pb::HeaderMatch { name, value, match_action: on, mismatch_action: off, ..Default::default() }])
    });
    prop_oneof![12 => matchers, 1 => actions]
}

fn port_rule() -> impl Strategy<Value = pb::PortNetworkPolicyRule> {
    let remotes = proptest::collection::vec(40u32..46, 0..4);
    let http_rules = proptest::collection::vec(http_rule(), 0..6);
    (remotes, http_rules, 0..12, select(&[0u32, 5, 10][..]), 0..3u32).prop_map(
        |(remotes, http_rules, kind, precedence, proxy_id)| {
            let plain = pb::PortNetworkPolicyRule { proxy_id: proxy_id / 2, ..rule("", &remotes) };
            let plain = if http_rules.is_empty() { plain } else { http(http_rules, plain) };
            match kind {
                0 => at(precedence, deny(plain)),
                1 => at(10, pass(5, plain)),
                _ => at(precedence, plain),
            }
        },
    )
}

fn ports() -> impl Strategy<Value = Vec<pb::PortNetworkPolicy>> {
    let entry = (select(&[0u32, 79, 80][..]), any::<bool>(), proptest::collection::vec(port_rule(), 0..12));
    proptest::collection::vec(
        entry.prop_map(|(port, wide, rules)| range(port, if wide && port > 0 { 90 } else { 0 }, rules)),
        1..4,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// The explanation asks every rule in order; the verdict uses tables. Both must come to the same.
    #[test]
    fn explanations_agree_with_verdicts(
        ports in ports(),
        requests in proptest::collection::vec((40u32..47, select(&PATHS[..]), select(&["GET", "PUT"][..]), 0..2u16), 8),
    ) {
        let mut map = PolicyMap::new();
        let Ok(snapshot) = full(&mut map, &[("web", policy(1, &[IP], ports))]) else { return Ok(()) };
        let policy = snapshot.policy(IP, false);
        for (remote, path, method, proxy_id) in requests {
            let headers = HeaderList::from_iter([(":method", method), (":path", path), ("x", "1")]);
            for port in [79, 80, 85, 91] {
                let question = Question {
                    endpoint: IP,
                    direction: Direction::Ingress,
                    port,
                    proxy_id,
                    remote,
                    sni: "",
                    headers: Some(&headers),
                    metadata: None,
                };
                let trace = policy.explain(&question);
                for stage in &trace.stages {
                    prop_assert_eq!(stage.allowed, stage.by_rules(), "{}", trace);
                }
                let rules = policy.port(Direction::Ingress, port);
                let (mut changed, mut log) = (headers.clone(), HeaderLog::default());
                let allowed = rules.network(proxy_id, remote, "").allowed
                    && rules.http(proxy_id, remote, &mut changed, &mut log).allowed;
                prop_assert_eq!(trace.allowed, allowed);
            }
        }
    }
}

#[test]
fn a_trace_reads_as_a_tree() {
    let (_, policy) = map(vec![range(
        80,
        90,
        vec![at(5, deny(rule("bad", &[7]))), http(vec![path("/a"), path("/b")], rule("good", &[43]))],
    )]);
    let headers = HeaderList::from_iter([(":path", "/b")]);
    let question = Question {
        endpoint: IP,
        direction: Direction::Ingress,
        port: 80,
        proxy_id: 0,
        remote: 43,
        sni: "",
        headers: Some(&headers),
        metadata: None,
    };
    let expected = "\
allowed: port 80: allowed by rule \"good\"
endpoint 10.1.2.3, resource \"web\", endpoint id 1
ingress port 80, rules of port 80-90
connection: allowed (allowed_by_rule)
  deny rule \"bad\" at ingress_per_port_policies[0].rules[0], precedence 5: does not apply
    - remote \"43\", wanted: one of 7
  allow rule \"good\" at ingress_per_port_policies[0].rules[1]: allows
    + remote \"43\", wanted: one of 43
request: allowed (allowed_by_rule)
  deny rule \"bad\" at ingress_per_port_policies[0].rules[0], precedence 5: does not apply
    - remote \"43\", wanted: one of 7
  allow rule \"good\" at ingress_per_port_policies[0].rules[1]: allows
    + remote \"43\", wanted: one of 43
    HTTP rule 0: does not match
      - :path \"/b\", wanted: exact \"/a\"
    HTTP rule 1: matches
      + :path \"/b\", wanted: exact \"/b\"
";
    assert_eq!(policy.explain(&question).to_string(), expected);
}

#[test]
fn secrets_stay_out_of_traces_and_dumps() {
    let action = pb::HeaderMatch {
        name: "token".to_owned(),
        value_sds_secret: "key".to_owned(),
        mismatch_action: 1,
        ..Default::default()
    };
    let (mut map, policy) = map(vec![port(80, vec![http(vec![actions(vec![action])], rule("r", &[]))])]);
    map.set_secret("key", Some(b"hunter2"));
    let headers = HeaderList::from_iter([("token", "wrong")]);
    let question = Question {
        endpoint: IP,
        direction: Direction::Ingress,
        port: 80,
        proxy_id: 0,
        remote: 1,
        sni: "",
        headers: Some(&headers),
        metadata: None,
    };
    let trace = policy.explain(&question);
    assert!(trace.allowed);
    assert_eq!(trace.missing, [("token".to_owned(), "[redacted]".to_owned())]);
    assert!(!format!("{trace}{trace:?}{:?}{policy:?}{map:?}", policy.dump()).contains("hunter2"));
}
