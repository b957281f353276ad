//! Any bytes as a resource: an update is accepted or refused, and a refused one changes nothing.
#![no_main]

use cilium_policy::{Direction, PolicyMap, Update, UpdateKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut map = PolicyMap::new();
    // endpoint_ips "10.9.9.9", endpoint_id 9
    let known: &[u8] = b"\x0a\x0810.9.9.9\x10\x09";
    let base = apply(&mut map, UpdateKind::Full, &[("known", known)]).expect("the resource is valid");
    match apply(&mut map, UpdateKind::Delta, &[("fuzzed", bytes)]) {
        Err(_) => assert!(std::sync::Arc::ptr_eq(&base, &map.snapshot())),
        Ok(snapshot) => {
            assert!(snapshot.endpoint("10.9.9.9").is_some());
            for (_, policy) in snapshot.endpoints() {
                let _ = policy.dump();
                for port in [0, 80, 65535] {
                    let verdict = policy.port(Direction::Ingress, port).network(0, 1, "a.example");
                    let _ = verdict.reason.to_string();
                }
            }
            // The same bytes make the same policies.
            let again = apply(&mut map, UpdateKind::Delta, &[("fuzzed", bytes)]).expect("accepted before");
            for (name, policy) in snapshot.endpoints() {
                assert!(std::sync::Arc::ptr_eq(policy, again.endpoint(name).expect("still there")));
            }
        }
    }
});

fn apply(
    map: &mut PolicyMap,
    kind: UpdateKind,
    upserts: &[(&str, &[u8])],
) -> Result<std::sync::Arc<cilium_policy::Snapshot>, cilium_policy::Rejected> {
    map.update(&Update { version: "1", kind, new_stream: false, upserts, removed: &[] })
}
