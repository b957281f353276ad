//! One changed policy among 10,000: from the first byte of the DELTA to the answer that says it is enforced.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

#[path = "../tests/control_plane/mod.rs"]
mod control_plane;

use std::hint::black_box;
use std::net::Ipv4Addr;

use cilium_channel::Client;
use cilium_proto::cilium::{NetworkPolicy, PortNetworkPolicy, PortNetworkPolicyRule};
use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message;

use control_plane::{Changes, ControlPlane, POLICIES, config};

fn policy(number: u16, remote: u32) -> (String, Vec<u8>) {
    let rule = PortNetworkPolicyRule { remote_policies: vec![remote], ..PortNetworkPolicyRule::default() };
    let message = NetworkPolicy {
        endpoint_ips: vec![Ipv4Addr::from_bits((10 << 24) + u32::from(number)).to_string()],
        endpoint_id: number.into(),
        ingress_per_port_policies: vec![PortNetworkPolicy { port: 80, rules: vec![rule], ..Default::default() }],
        ..NetworkPolicy::default()
    };
    (number.to_string(), message.encode_to_vec())
}

fn delta(criterion: &mut Criterion) {
    let server = ControlPlane::start();
    let client = Client::spawn(config(&server.path), ()).unwrap();
    let mut connection = server.greet();
    let full = Changes {
        type_url: POLICIES,
        version: "1",
        upserts: (1..=10_000).map(|number| policy(number, 1)).collect(),
        ..Changes::default()
    };
    connection.accepted(&full);
    let mut remote = 1;
    criterion.bench_function("delta_of_1_among_10000", |bencher| {
        bencher.iter(|| {
            remote += 1;
            let upserts = vec![policy(5000, remote)];
            connection.accepted(&Changes { delta_from: Some("1"), upserts, ..full_without_upserts() });
        });
    });
    criterion.bench_function("full_of_10000", |bencher| {
        bencher.iter(|| {
            remote += 1;
            let upserts = (1..=10_000).map(|number| policy(number, remote)).collect();
            connection.accepted(&Changes { upserts, ..full_without_upserts() });
        });
    });
    let shared = client.shared();
    criterion.bench_function("load_of_the_state", |bencher| {
        bencher.iter(|| black_box(shared.load().policies.version().len()));
    });
}

fn full_without_upserts() -> Changes {
    Changes { type_url: POLICIES, version: "1", ..Changes::default() }
}

criterion_group!(benches, delta);
criterion_main!(benches);
