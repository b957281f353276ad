//! Cost of updates, and memory per policy.

#![allow(missing_docs, clippy::expect_used, reason = "criterion's macros; a benchmark may panic")]

mod shapes;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use cilium_policy::hosts::{HostMap, HostUpdate};
use cilium_policy::{PolicyMap, UpdateKind};
use cilium_proto::cilium::NetworkPolicyHosts;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use prost::Message;

fn full(c: &mut Criterion) {
    let mut group = c.benchmark_group("full update");
    group.sample_size(10);
    for (name, resources) in [
        ("1000 small", shapes::small(1000)),
        ("10000 of 20 ports x 50 identities x 5 HTTP rules, equal parts", shapes::large(10_000, false)),
        ("10000 of 20 ports x 50 identities x 5 HTTP rules, own identities", shapes::large(10_000, true)),
    ] {
        let before = resident();
        let start = Instant::now();
        let mut map = PolicyMap::new();
        let snapshot = shapes::apply(&mut map, UpdateKind::Full, &resources);
        let bytes = resident().saturating_sub(before);
        println!("{name}: first update {:?}, {} bytes per policy", start.elapsed(), bytes / resources.len().max(1));
        drop((map, snapshot));
        group.bench_function(name, |b| {
            b.iter_batched(
                PolicyMap::new,
                |mut map| {
                    let snapshot = shapes::apply(&mut map, UpdateKind::Full, &resources);
                    (map, snapshot)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn one_change(c: &mut Criterion) {
    let mut group = c.benchmark_group("one change among 10000");
    let mut map = PolicyMap::new();
    shapes::apply(&mut map, UpdateKind::Full, &shapes::large(10_000, true));
    let changes = [
        vec![shapes::policy(5000, vec![shapes::port(80, vec![shapes::rule(vec![43], shapes::mixed(5))])])],
        vec![shapes::policy(5000, vec![shapes::port(81, vec![shapes::rule(vec![44], shapes::mixed(6))])])],
    ];
    let mut turn = 0;
    group.bench_function("delta", |b| {
        b.iter(|| {
            turn ^= 1;
            shapes::apply(&mut map, UpdateKind::Delta, &changes[turn])
        });
    });
    let mut resources = shapes::large(10_000, true);
    group.sample_size(10);
    group.bench_function("full", |b| {
        b.iter(|| {
            turn ^= 1;
            resources[4999] = changes[turn][0].clone();
            shapes::apply(&mut map, UpdateKind::Full, &resources)
        });
    });
    group.finish();
}

fn hosts(c: &mut Criterion) {
    let bytes: Vec<_> = (0..1000u64)
        .map(|id| {
            let start = u32::try_from(id).unwrap_or(0) * 128;
            let mut list: Vec<_> = (0..100).map(|n| Ipv4Addr::from_bits(10 << 24 | (start + n)).to_string()).collect();
            if id == 0 {
                list.extend(["0.0.0.0/0", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(str::to_owned));
            }
            (id.to_string(), NetworkPolicyHosts { policy: id, host_addresses: list }.encode_to_vec())
        })
        .collect();
    let upserts: Vec<_> = bytes.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let update =
        HostUpdate { version: "1", kind: UpdateKind::Full, new_stream: false, upserts: &upserts, removed: &[] };
    let map = HostMap::default().update(&update).expect("the resources are valid");
    let mut next = 0u32;
    c.bench_function("resolve one of 100000 hosts", |b| {
        b.iter(|| {
            next = (next + 7919) % 128_000;
            map.resolve(IpAddr::V4(Ipv4Addr::from_bits(10 << 24 | next)))
        });
    });
    let change = HostUpdate { kind: UpdateKind::Delta, upserts: &upserts[500..501], ..update };
    c.bench_function("a delta of 100 among 100000 hosts", |b| b.iter(|| map.update(&change)));
    let one = NetworkPolicyHosts { policy: 5000, host_addresses: vec!["10.200.0.1".to_owned()] }.encode_to_vec();
    let one = [("5000", one.as_slice())];
    let change = HostUpdate { kind: UpdateKind::Delta, upserts: &one, ..update };
    c.bench_function("a delta of one among 100000 hosts", |b| b.iter(|| map.update(&change)));
    c.bench_function("full update of 100000 hosts", |b| b.iter(|| HostMap::default().update(&update)));
}

/// Bytes of memory in use by the process, from `/proc`.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

criterion_group!(benches, full, one_change, hosts);
criterion_main!(benches);
