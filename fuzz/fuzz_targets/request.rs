//! Requests against a policy: verdicts and explanations agree.
//!
//! Input: length of the policy (two bytes, big endian), the policy, then lines `name value`.
#![no_main]

use cilium_policy::{Direction, HeaderList, HeaderLog, PolicyMap, Question, TlsSide, Update, UpdateKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let Some((policy, lines)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { return };
    let mut map = PolicyMap::new();
    map.set_secret("secret", Some(b"value"));
    let update = Update {
        version: "1",
        kind: UpdateKind::Full,
        new_stream: false,
        upserts: &[("fuzzed", policy)],
        removed: &[],
    };
    let Ok(snapshot) = map.update(&update) else { return };
    let headers: HeaderList = lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let space = line.iter().position(|byte| *byte == b' ')?;
            Some((String::from_utf8(line[..space].to_vec()).ok()?, line[space + 1..].to_vec()))
        })
        .collect();
    for (endpoint, policy) in snapshot.endpoints() {
        for direction in [Direction::Ingress, Direction::Egress] {
            for (port, remote, sni) in [(80, 43, ""), (443, 1, "a.example"), (8080, 7, "b.c.example")] {
                let question = Question {
                    endpoint,
                    direction,
                    port,
                    proxy_id: 0,
                    remote,
                    sni,
                    headers: Some(&headers),
                    metadata: None,
                };
                let trace = policy.explain(&question);
                let rules = policy.port(direction, port);
                let connection = rules.network(0, remote, sni);
                let (mut changed, mut log) = (headers.clone(), HeaderLog::default());
                let allowed = connection.allowed && rules.http(0, remote, &mut changed, &mut log).allowed;
                assert_eq!(trace.allowed, allowed, "{trace}");
                for stage in &trace.stages {
                    assert_eq!(stage.allowed, stage.by_rules(), "{trace}");
                }
                let _ = (rules.tls(TlsSide::Server, 0, remote, sni), rules.l7_parser(0, remote));
            }
        }
    }
});
