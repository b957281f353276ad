//! Recent answers of the ipcache map: a fixed table that all threads read and write without waiting for each other.
//!
//! Each slot carries a sequence number that is odd while it is written: who finds it odd or changed has found nothing.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

const SETS: usize = 2048;
const WAYS: usize = 4;
/// An answer this young outlives a collection.
const YOUNG: u64 = 1_000_000;
const JITTER: u64 = 1_000_000;
const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// An address as three numbers, none zero for all families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    high: u64,
    low: u64,
    family: u32,
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Address { high: 0, low: u64::from(ip.to_bits()), family: 1 },
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                // Truncation splits the address in two halves.
                #[allow(clippy::cast_possible_truncation)]
                Address { high: (bits >> 64) as u64, low: bits as u64, family: 2 }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    sequence: AtomicU64,
    high: AtomicU64,
    low: AtomicU64,
    /// Family in the high half, identity in the low one. Family 0: empty.
    tagged: AtomicU64,
    /// Nanoseconds after the table's start.
    stamp: AtomicU64,
}

/// What a slot held at one moment.
#[derive(Clone, Copy)]
struct Entry {
    address: Address,
    identity: u32,
    stamp: u64,
}

/// The table.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Box<[[Slot; WAYS]]>,
    start: Instant,
    /// Entries older than this stamp are forgotten.
    cleared: AtomicU64,
    gc_start: AtomicU64,
    gc_interval: AtomicU64,
}

impl Cache {
    pub(super) fn new(gc_interval: Duration) -> Self {
        Cache {
            slots: (0..SETS).map(|_| Default::default()).collect(),
            start: Instant::now(),
            cleared: AtomicU64::new(0),
            gc_start: AtomicU64::new(0),
            gc_interval: AtomicU64::new(nanoseconds(gc_interval)),
        }
    }

    pub(super) fn set_gc_interval(&self, interval: Duration) {
        let interval = nanoseconds(interval);
        if self.gc_interval.swap(interval, Ordering::Relaxed) != interval {
            self.gc_start.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.cleared.store(self.now(), Ordering::Relaxed);
    }

    /// The identity kept for `address`, if it is younger than `ttl` less up to a millisecond of jitter.
    pub(super) fn get(&self, address: Address, ttl: Duration) -> Option<u32> {
        let now = self.now();
        let ttl = nanoseconds(ttl);
        let ttl = if ttl >= NANOSECONDS_PER_MILLISECOND { ttl - mix(now ^ address.low) % JITTER } else { ttl };
        self.get_at(address, ttl, now)
    }

    fn get_at(&self, address: Address, ttl: u64, now: u64) -> Option<u32> {
        let entry = self.set(address).iter().filter_map(Slot::read).find(|entry| entry.address == address)?;
        (now.saturating_sub(entry.stamp) < ttl && self.is_kept(entry.stamp, now)).then_some(entry.identity)
    }

    /// Keeps the map's answer to a question asked at this time: what was asked before a clearing, of another map
    /// maybe, is cleared with the rest.
    pub(super) fn insert(&self, address: Address, identity: u32, asked: u64) {
        let set = self.set(address);
        // Its own slot, or an empty one, or the oldest: an empty slot counts as older than any.
        let age = |slot: &&Slot| match slot.read() {
            Some(entry) if entry.address == address => (0, 0),
            None => (1, 0),
            Some(entry) => (2, entry.stamp),
        };
        if let Some(slot) = set.iter().min_by_key(age) {
            slot.write(Entry { address, identity, stamp: asked });
        }
    }

    /// Whether an entry has outlived the collections, which throw away all but the young ones. They need no timer:
    /// it is enough to know when the last one would have been.
    fn is_kept(&self, stamp: u64, now: u64) -> bool {
        if stamp < self.cleared.load(Ordering::Relaxed) {
            return false;
        }
        let start = self.gc_start.load(Ordering::Relaxed);
        match (now.saturating_sub(start)).checked_div(self.gc_interval.load(Ordering::Relaxed)) {
            None | Some(0) => true,
            Some(collections) => {
                let last = start + collections * self.gc_interval.load(Ordering::Relaxed);
                stamp.saturating_add(YOUNG) > last
            }
        }
    }

    fn set(&self, address: Address) -> &[Slot; WAYS] {
        let hash = mix(mix(address.high ^ u64::from(address.family)) ^ address.low);
        // SETS is a power of two, so the index is in bounds whatever the hash.
        #[allow(clippy::cast_possible_truncation)]
        let index = (hash as usize) & (SETS - 1);
        &self.slots[index]
    }

    /// Nanoseconds since the table was made.
    pub(super) fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

impl Slot {
    fn read(&self) -> Option<Entry> {
        let before = self.sequence.load(Ordering::Acquire);
        if before & 1 == 1 {
            return None;
        }
        let tagged = self.tagged.load(Ordering::Relaxed);
        let address = Address {
            high: self.high.load(Ordering::Relaxed),
            low: self.low.load(Ordering::Relaxed),
            family: u32::try_from(tagged >> 32).unwrap_or(0),
        };
        let stamp = self.stamp.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) != before || address.family == 0 {
            return None;
        }
        // The low half holds the identity.
        #[allow(clippy::cast_possible_truncation)]
        Some(Entry { address, identity: tagged as u32, stamp })
    }

    /// Writes, unless somebody else is writing: an answer not kept is asked for again.
    fn write(&self, entry: Entry) {
        let before = self.sequence.load(Ordering::Relaxed);
        if before & 1 == 1
            || self.sequence.compare_exchange(before, before + 1, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return;
        }
        fence(Ordering::Release);
        self.high.store(entry.address.high, Ordering::Relaxed);
        self.low.store(entry.address.low, Ordering::Relaxed);
        self.tagged.store(u64::from(entry.address.family) << 32 | u64::from(entry.identity), Ordering::Relaxed);
        self.stamp.store(entry.stamp, Ordering::Relaxed);
        self.sequence.store(before + 2, Ordering::Release);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Spreads bits (the finaliser of `SplitMix64`).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
