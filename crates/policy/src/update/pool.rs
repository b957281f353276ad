//! Objects that are shared as long as someone holds them, found by content.

use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Weak};

use hashbrown::HashTable;

/// Below this many objects the pool is not searched for dead ones.
const SWEEP_FROM: usize = 1024;

pub(super) struct Pool<T: ?Sized> {
    objects: HashTable<(u64, Weak<T>)>,
    hasher: foldhash::quality::RandomState,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { objects: HashTable::new(), hasher: foldhash::quality::RandomState::default(), sweep_at: SWEEP_FROM }
    }
}

impl<T: ?Sized> Pool<T> {
    pub(super) fn hash(&self, key: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The living object with that hash that `is` accepts.
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(&T) -> bool) -> Option<Arc<T>> {
        let mut found = None;
        self.objects.find(hash, |(other, object)| {
            if *other == hash
                && let Some(object) = object.upgrade()
                && is(&object)
            {
                found = Some(object);
            }
            found.is_some()
        });
        found
    }

    pub(super) fn insert(&mut self, hash: u64, object: &Arc<T>) {
        if self.objects.len() >= self.sweep_at {
            self.objects.retain(|(_, object)| object.strong_count() > 0);
            self.sweep_at = (self.objects.len() * 2).max(SWEEP_FROM);
        }
        self.objects.insert_unique(hash, (hash, Arc::downgrade(object)), |(hash, _)| *hash);
    }
}

impl<T: Hash + Eq> Pool<T> {
    /// The pool's object that equals `object`, which becomes one if there is none.
    pub(super) fn share(&mut self, object: T) -> Arc<T> {
        let hash = self.hash(&object);
        self.find(hash, |other| *other == object).unwrap_or_else(|| {
            let object = Arc::new(object);
            self.insert(hash, &object);
            object
        })
    }
}

impl<T: ?Sized> std::fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({})", self.objects.len())
    }
}
