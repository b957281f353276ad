use cilium_proto::cilium::NetworkPolicy;
use cilium_proto::cilium_proxy::v1::Upsert;
use prost::Message;

use super::*;

fn transaction(kind: Kind, base: &str, target: &str) -> Transaction {
    let policy =
        NetworkPolicy { endpoint_ips: vec!["10.0.0.1".to_owned()], endpoint_id: 1, ..NetworkPolicy::default() };
    Transaction {
        kind,
        base: base.to_owned(),
        target: target.to_owned(),
        new_stream: false,
        upserts: vec![Upsert { name: "1".to_owned(), resource: policy.encode_to_vec() }],
        removed: Vec::new(),
        digest: [0; 32],
    }
}

#[test]
fn after_a_failure_of_the_engine_everything_is_asked_for_again_and_the_state_stays() {
    let mut enforced = Enforced::new();
    let full = transaction(Kind::Full, "", "1");
    assert_eq!(enforced.apply(ResourceType::Policies, 1, &full), Outcome::Accepted);
    enforced.restart(ResourceType::Policies);
    assert_eq!(enforced.applied().count(), 0);
    assert_eq!(enforced.shared().load().policies.version(), "1");
    let delta = transaction(Kind::Delta, "1", "2");
    assert_eq!(enforced.apply(ResourceType::Policies, 1, &delta), Outcome::BaseMismatch(String::new()));
    assert_eq!(enforced.apply(ResourceType::Policies, 1, &full), Outcome::Accepted);
}

#[test]
fn the_debug_form_tells_no_secret() {
    let mut enforced = Enforced::new();
    enforced.secrets.insert("name".to_owned(), b"hunter2".to_vec());
    let shown = format!("{enforced:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(&format!("{:?}", b"hunter2")), "{shown}");
}
