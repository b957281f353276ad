//! Cost of one verdict, by number of rules, identities and endpoints.

#![allow(missing_docs, clippy::expect_used, reason = "criterion's macros; a benchmark may panic")]

mod shapes;

use std::hint::black_box;

use cilium_policy::{Direction, HeaderList, HeaderLog, Headers, PolicyMap, PortPolicy, UpdateKind};
use criterion::{Criterion, criterion_group, criterion_main};

/// Headers as a proxy has them: a handful, borrowed.
struct Request(Vec<(&'static str, Vec<u8>)>);

impl Request {
    fn get(path: &str) -> Self {
        Self(vec![
            (":method", b"GET".to_vec()),
            (":path", path.as_bytes().to_vec()),
            (":authority", b"service.example".to_vec()),
            (":scheme", b"http".to_vec()),
            ("user-agent", b"bench".to_vec()),
            ("accept", b"*/*".to_vec()),
        ])
    }
}

impl Headers for Request {
    fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        self.0.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value.as_slice())
    }
    fn add(&mut self, _: &str, _: &[u8]) {}
    fn set(&mut self, _: &str, _: &[u8]) {}
    fn remove(&mut self, _: &str) {}
}

fn ask(policy: &PortPolicy<'_>, remote: u32, request: &mut Request, expected: bool) {
    let mut log = HeaderLog::default();
    let allowed = policy.network(0, black_box(remote), "").allowed
        && policy.http(0, black_box(remote), black_box(request), &mut log).allowed;
    assert_eq!(allowed, expected);
}

fn rules(c: &mut Criterion) {
    let mut group = c.benchmark_group("rules");
    for count in [10, 100, 1000] {
        let in_one = vec![shapes::rule(
            vec![43],
            shapes::mixed(10).into_iter().chain((10..count).map(|n| shapes::exact(&format!("/exact/{n}")))).collect(),
        )];
        let one_each: Vec<_> =
            (0..count).map(|n| shapes::rule(vec![43], vec![shapes::exact(&format!("/exact/{n}"))])).collect();
        for (shape, rules) in [("alternatives of one rule", in_one), ("rules of one port", one_each)] {
            let mut map = PolicyMap::new();
            let snapshot =
                shapes::apply(&mut map, UpdateKind::Full, &vec![shapes::policy(1, vec![shapes::port(80, rules)])]);
            let policy = snapshot.policy("10.0.0.1", false).port(Direction::Ingress, 80);
            let mut first = Request::get("/exact/0");
            let mut last = Request::get(&format!("/exact/{}", if count == 10 { 8 } else { count - 1 }));
            group.bench_function(format!("{count} {shape}, first allows"), |b| {
                b.iter(|| ask(&policy, 43, &mut first, true));
            });
            group.bench_function(format!("{count} {shape}, last allows"), |b| {
                b.iter(|| ask(&policy, 43, &mut last, true));
            });
            if shape.starts_with("alternatives") {
                let mut prefix = Request::get("/prefix/9/x");
                group.bench_function(format!("{count} {shape}, last prefix allows"), |b| {
                    b.iter(|| ask(&policy, 43, &mut prefix, true));
                });
            }
        }
    }
    group.finish();
}

/// The check that the HTTP benchmark's peers do.
fn expressions(c: &mut Criterion) {
    let mut map = PolicyMap::new();
    let rules = vec![shapes::rule(vec![43], shapes::expressions())];
    let snapshot = shapes::apply(&mut map, UpdateKind::Full, &vec![shapes::policy(1, vec![shapes::port(80, rules)])]);
    let policy = snapshot.policy("10.0.0.1", false).port(Direction::Ingress, 80);
    let mut allowed = Request::get("/api/v1/items/42");
    c.bench_function("10 rules of expressions, last allows", |b| b.iter(|| ask(&policy, 43, &mut allowed, true)));
    let mut denied = Request::get("/api/v1/secrets/42");
    c.bench_function("10 rules of expressions, denied", |b| b.iter(|| ask(&policy, 43, &mut denied, false)));
}

fn identities(c: &mut Criterion) {
    let mut group = c.benchmark_group("identities");
    for count in [10u32, 100, 1000, 10_000] {
        let mut map = PolicyMap::new();
        let rules = vec![shapes::rule((1000..1000 + count).collect(), shapes::mixed(10))];
        let snapshot =
            shapes::apply(&mut map, UpdateKind::Full, &vec![shapes::policy(1, vec![shapes::port(80, rules)])]);
        let policy = snapshot.policy("10.0.0.1", false).port(Direction::Ingress, 80);
        let mut request = Request::get("/exact/8");
        let mut remote = 0;
        group.bench_function(format!("{count} identities in the rule"), |b| {
            b.iter(|| {
                remote = (remote + 7919) % count;
                ask(&policy, 1000 + remote, &mut request, true);
            });
        });
    }
    group.finish();
}

fn endpoints(c: &mut Criterion) {
    let mut group = c.benchmark_group("endpoints");
    for count in [10u64, 1000, 10_000] {
        let mut map = PolicyMap::new();
        let snapshot = shapes::apply(&mut map, UpdateKind::Full, &shapes::small(count));
        let names: Vec<_> = (1..=count).map(shapes::address).collect();
        let mut request = Request::get("/allowed");
        let mut next = 0;
        group.bench_function(format!("{count} endpoints, look-up included"), |b| {
            b.iter(|| {
                next = (next + 7919) % names.len();
                let policy = snapshot.policy(&names[next], false).port(Direction::Ingress, 80);
                ask(&policy, 43, &mut request, true);
            });
        });
    }
    group.finish();
}

/// 294 policies of 68 rules that together name 256,000 identities.
fn cluster(c: &mut Criterion) {
    let identities: u32 = 256_000;
    let share = identities / 68;
    let rules: Vec<_> = (0..68)
        .map(|n| {
            let remotes = (n * share..(n + 1) * share).map(|id| 1 << 24 | id).collect();
            shapes::rule(remotes, vec![shapes::exact(&format!("/{n}")), shapes::prefix(&format!("/{n}/"))])
        })
        .collect();
    let resources = (1..=294).map(|id| shapes::policy(id, vec![shapes::port(80, rules.clone())])).collect();
    let mut map = PolicyMap::new();
    let snapshot = shapes::apply(&mut map, UpdateKind::Full, &resources);
    let names: Vec<_> = (1..=294).map(shapes::address).collect();
    let mut requests: Vec<_> = (0..68).map(|n| Request::get(&format!("/{n}/x"))).collect();
    let (mut next, mut id) = (0, 0);
    c.bench_function("294 policies, 68 rules, 256000 identities", |b| {
        b.iter(|| {
            next = (next + 101) % names.len();
            id = (id + 104_729) % (share * 68);
            let policy = snapshot.policy(&names[next], false).port(Direction::Ingress, 80);
            ask(&policy, 1 << 24 | id, &mut requests[(id / share) as usize], true);
        });
    });
}

fn denials(c: &mut Criterion) {
    let mut map = PolicyMap::new();
    let rules = vec![shapes::rule(vec![43], shapes::mixed(10))];
    let snapshot = shapes::apply(&mut map, UpdateKind::Full, &vec![shapes::policy(1, vec![shapes::port(80, rules)])]);
    let policy = snapshot.policy("10.0.0.1", false).port(Direction::Ingress, 80);
    let mut request = HeaderList::from_iter([(":method", "GET"), (":path", "/none")]);
    c.bench_function("denial of 10 rules, sentence included", |b| {
        b.iter(|| policy.http(0, 43, &mut request, &mut HeaderLog::default()).reason.to_string());
    });
}

criterion_group!(benches, rules, expressions, identities, endpoints, cluster, denials);
criterion_main!(benches);
