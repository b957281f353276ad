//! Prefixes of one address family, by length.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

type Level<A> = HashMap<A, u32, foldhash::fast::RandomState>;

/// A table per prefix length that occurs, longest first. Copies share tables that did not change.
#[derive(Debug, Clone)]
pub(super) struct Levels<A> {
    levels: Vec<(A, u32, Arc<Level<A>>)>,
}

impl<A> Default for Levels<A> {
    fn default() -> Self {
        Self { levels: Vec::new() }
    }
}

/// An address as a number.
pub(super) trait Address: Copy + Eq + Hash {
    /// All bits of a prefix of this length.
    fn mask(length: u32) -> Self;
    fn and(self, mask: Self) -> Self;
}

impl Address for u32 {
    fn mask(length: u32) -> Self {
        Self::MAX.checked_shl(Self::BITS - length).unwrap_or(0)
    }

    fn and(self, mask: Self) -> Self {
        self & mask
    }
}

impl Address for u128 {
    fn mask(length: u32) -> Self {
        Self::MAX.checked_shl(Self::BITS - length).unwrap_or(0)
    }

    fn and(self, mask: Self) -> Self {
        self & mask
    }
}

impl<A: Address> Levels<A> {
    pub(super) fn resolve(&self, address: A) -> Option<u32> {
        self.levels.iter().find_map(|(mask, _, level)| level.get(&address.and(*mask))).copied()
    }

    /// Adds a prefix; returns the identity it has already.
    pub(super) fn insert(&mut self, address: A, length: u32, identity: u32) -> Option<u32> {
        let index = self.levels.partition_point(|(_, other, _)| *other > length);
        if self.levels.get(index).is_none_or(|(_, other, _)| *other != length) {
            self.levels.insert(index, (A::mask(length), length, Arc::default()));
        }
        match Arc::make_mut(&mut self.levels[index].2).entry(address) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) => {
                entry.insert(identity);
                None
            }
        }
    }

    /// Removes all prefixes of these identities.
    pub(super) fn remove(&mut self, identities: &HashSet<u32>) {
        for (.., level) in &mut self.levels {
            if level.values().any(|identity| identities.contains(identity)) {
                Arc::make_mut(level).retain(|_, identity| !identities.contains(identity));
            }
        }
        self.levels.retain(|(.., level)| !level.is_empty());
    }

    pub(super) fn len(&self) -> usize {
        self.levels.iter().map(|(.., level)| level.len()).sum()
    }
}
