use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const MILLISECOND: u64 = 1_000_000;

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn without_gc() -> Cache {
    Cache::new(Duration::ZERO)
}

#[test]
fn an_answer_is_used_until_its_time_is_over() {
    let cache = without_gc();
    cache.insert(address("10.0.0.1"), 7, 100);
    assert_eq!(cache.get_at(address("10.0.0.1"), 3 * MILLISECOND, 100 + 3 * MILLISECOND - 1), Some(7));
    assert_eq!(cache.get_at(address("10.0.0.1"), 3 * MILLISECOND, 100 + 3 * MILLISECOND), None);
}

#[test]
fn a_later_answer_replaces_the_earlier() {
    let cache = without_gc();
    cache.insert(address("10.0.0.1"), 7, 100);
    cache.insert(address("10.0.0.1"), 8, 200);
    assert_eq!(cache.get_at(address("10.0.0.1"), MILLISECOND, 300), Some(8));
}

#[test]
fn families_do_not_mix() {
    let cache = without_gc();
    cache.insert(address("0.0.0.1"), 7, 100);
    assert_eq!(cache.get_at(address("::1"), MILLISECOND, 100), None);
    assert_eq!(cache.get_at(address("::ffff:0.0.0.1"), MILLISECOND, 100), None);
}

#[test]
fn a_collection_throws_away_all_but_the_young() {
    let cache = Cache::new(Duration::from_millis(30));
    let ttl = 1_000 * MILLISECOND;
    cache.insert(address("10.0.0.1"), 7, 10 * MILLISECOND);
    cache.insert(address("10.0.0.2"), 8, 30 * MILLISECOND - MILLISECOND / 2);
    assert_eq!(cache.get_at(address("10.0.0.1"), ttl, 30 * MILLISECOND - 1), Some(7));
    assert_eq!(cache.get_at(address("10.0.0.1"), ttl, 30 * MILLISECOND), None);
    assert_eq!(cache.get_at(address("10.0.0.2"), ttl, 59 * MILLISECOND), Some(8));
    assert_eq!(cache.get_at(address("10.0.0.2"), ttl, 60 * MILLISECOND), None);
}

#[test]
fn cleared_answers_are_gone_and_new_ones_kept() {
    let cache = without_gc();
    cache.insert(address("10.0.0.1"), 7, cache.now());
    assert_eq!(cache.get(address("10.0.0.1"), Duration::from_secs(60)), Some(7));
    cache.clear();
    assert_eq!(cache.get(address("10.0.0.1"), Duration::from_secs(60)), None);
    cache.insert(address("10.0.0.1"), 8, cache.now());
    assert_eq!(cache.get(address("10.0.0.1"), Duration::from_secs(60)), Some(8));
}

#[test]
fn an_answer_asked_for_before_a_clearing_is_not_used() {
    let cache = without_gc();
    let asked = cache.now();
    while cache.now() == asked {}
    cache.clear();
    cache.insert(address("10.0.0.1"), 7, asked);
    assert_eq!(cache.get(address("10.0.0.1"), Duration::from_secs(60)), None);
}

proptest! {
    #[test]
    fn an_answer_is_the_last_one_or_none(
        operations in proptest::collection::vec((any::<bool>(), 0_u32..50_000, any::<u32>()), 1..2_000)
    ) {
        let cache = without_gc();
        let mut last = HashMap::new();
        for (time, (insert, host, identity)) in operations.into_iter().enumerate() {
            let address = Address::from(IpAddr::from(host.to_be_bytes()));
            if insert {
                cache.insert(address, identity, time as u64);
                last.insert(host, identity);
            } else if let Some(found) = cache.get_at(address, u64::MAX, time as u64) {
                prop_assert_eq!(Some(&found), last.get(&host));
            }
        }
    }
}

#[test]
fn concurrent_readers_never_see_half_an_answer() {
    let cache = Arc::new(without_gc());
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // The identity is a function of the address; all addresses share few sets, so that slots change hands often.
    let host = |number: u32| (number % 64, Address::from(IpAddr::from((number % 64).to_be_bytes())));
    let writers: Vec<_> = (0..2)
        .map(|offset| {
            let (cache, done) = (Arc::clone(&cache), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut number = offset;
                while !done.load(Ordering::Relaxed) {
                    let (identity, address) = host(number);
                    cache.insert(address, identity, u64::from(number));
                    number = number.wrapping_add(7);
                }
            })
        })
        .collect();
    let (mut found, mut number) = (0, 0_u32);
    while found < 100_000 {
        let (identity, address) = host(number);
        if let Some(seen) = cache.get_at(address, u64::MAX, u64::MAX / 2) {
            assert_eq!(seen, identity);
            found += 1;
        }
        number = number.wrapping_add(1);
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
}
