//! Prefixes of one address family, by length.

use std::hash::Hash;

use crate::hosts::sharded::Sharded;

/// Prefixes with their identities. Copies share what did not change.
#[derive(Debug, Clone)]
pub(super) struct Levels<A> {
    /// The lengths that occur, longest first.
    levels: Vec<Level<A>>,
    prefixes: Sharded<(A, u32), u32>,
}

/// The prefixes of one length.
#[derive(Debug, Clone)]
struct Level<A> {
    mask: A,
    length: u32,
    count: usize,
}

impl<A> Default for Levels<A> {
    fn default() -> Self {
        Self { levels: Vec::new(), prefixes: Sharded::default() }
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
        self.levels.iter().find_map(|level| self.prefixes.get(&(address.and(level.mask), level.length))).copied()
    }

    /// Adds a prefix; returns the identity it has already.
    pub(super) fn insert(&mut self, address: A, length: u32, identity: u32) -> Option<u32> {
        if let Some(known) = self.prefixes.get(&(address, length)) {
            return Some(*known);
        }
        let index = self.levels.partition_point(|level| level.length > length);
        if self.levels.get(index).is_none_or(|level| level.length != length) {
            self.levels.insert(index, Level { mask: A::mask(length), length, count: 0 });
        }
        self.levels[index].count += 1;
        self.prefixes.insert((address, length), identity);
        None
    }

    /// Removes a prefix, if it is there.
    pub(super) fn remove(&mut self, address: A, length: u32) {
        if self.prefixes.remove(&(address, length)).is_none() {
            return;
        }
        let index = self.levels.partition_point(|level| level.length > length);
        self.levels[index].count -= 1;
        if self.levels[index].count == 0 {
            self.levels.remove(index);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.prefixes.len()
    }
}
