//! A hash table in parts, so that a copy with few changes shares most of them.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Parts; a change copies one of them. A power of two.
const SHARDS: usize = 256;

type Shard<K, V> = Arc<HashTable<(K, V)>>;

/// An immutable table once it is shared: changing it copies the parts that change.
#[derive(Debug, Clone)]
pub(super) struct Sharded<K, V> {
    hasher: RandomState,
    /// Empty, or all of them.
    shards: Box<[Shard<K, V>]>,
    len: usize,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), shards: Box::default(), len: 0 }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let hash = self.hasher.hash_one(key);
        self.shards.get(shard(hash))?.find(hash, |(known, _)| known == key).map(|(_, value)| value)
    }

    /// Adds or replaces.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.shards.is_empty() {
            self.shards = (0..SHARDS).map(|_| Arc::default()).collect();
        }
        let hash = self.hasher.hash_one(key);
        let hasher = &self.hasher;
        let table = Arc::make_mut(&mut self.shards[shard(hash)]);
        if let Some((_, known)) = table.find_mut(hash, |(known, _)| *known == key) {
            *known = value;
            return;
        }
        table.insert_unique(hash, (key, value), |(key, _)| hasher.hash_one(key));
        self.len += 1;
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let shared = self.shards.get_mut(shard(hash))?;
        // Looked for first: a copy for nothing would be dear.
        shared.find(hash, |(known, _)| known == key)?;
        let found = Arc::make_mut(shared).find_entry(hash, |(known, _)| known == key).ok()?;
        self.len -= 1;
        Some(found.remove().0.1)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Bits of the hash that the tables themselves use least.
fn shard(hash: u64) -> usize {
    usize::try_from(hash >> 40).unwrap_or(0) & (SHARDS - 1)
}
