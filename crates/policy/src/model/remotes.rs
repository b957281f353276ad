//! Sets of security identities.

/// The remotes of a rule. Empty: any. Membership takes the same time for few and for many identities.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Remotes {
    /// Sorted, without duplicates.
    sorted: Box<[u32]>,
    /// Open addressing, a power of two of slots, at most three quarters used; a free slot repeats `free`.
    slots: Box<[u32]>,
    /// A value that is not in the set.
    free: u32,
}

/// Up to this size the sorted list is searched.
const SMALL: usize = 8;

impl Remotes {
    pub(crate) fn new(mut identities: Vec<u32>) -> Self {
        identities.sort_unstable();
        identities.dedup();
        let sorted = identities.into_boxed_slice();
        if sorted.len() <= SMALL {
            return Self { sorted, slots: Box::default(), free: 0 };
        }
        // The set has at most 2^32 - 1 members unless it holds every identity, which no message can carry.
        let free = (0..=u32::MAX).rev().find(|id| sorted.binary_search(id).is_err()).unwrap_or_default();
        let capacity = (sorted.len() * 4 / 3 + 1).next_power_of_two();
        let mut slots = vec![free; capacity].into_boxed_slice();
        for &identity in &sorted {
            let mut slot = slot_of(identity, capacity);
            while slots[slot] != free {
                slot = (slot + 1) & (capacity - 1);
            }
            slots[slot] = identity;
        }
        Self { sorted, slots, free }
    }

    /// Whether the set restricts nothing.
    pub(crate) fn is_any(&self) -> bool {
        self.sorted.is_empty()
    }

    pub(crate) fn contains(&self, identity: u32) -> bool {
        if self.slots.is_empty() {
            return self.sorted.is_empty() || self.sorted.contains(&identity);
        }
        if identity == self.free {
            return false;
        }
        let mask = self.slots.len() - 1;
        let mut slot = slot_of(identity, self.slots.len());
        loop {
            let found = self.slots[slot & mask];
            if found == identity {
                return true;
            }
            if found == self.free {
                return false;
            }
            slot += 1;
        }
    }

    /// Ascending.
    pub(crate) fn as_slice(&self) -> &[u32] {
        &self.sorted
    }
}

/// Where the search for an identity begins: the top bits of a multiplicative hash. `capacity` is a power of two.
pub(crate) fn slot_of(identity: u32, capacity: usize) -> usize {
    let hash = identity.wrapping_mul(0x9e37_79b1);
    // A capacity of one leaves no bits, and a shift by all bits is not one.
    hash.checked_shr(u32::BITS - capacity.trailing_zeros().min(u32::BITS)).unwrap_or(0) as usize
}
