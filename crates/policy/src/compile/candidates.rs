//! The rules whose remotes hold an identity, found without asking each rule.

use std::collections::HashMap;
use std::sync::Arc;

use crate::compile::PortRule;
use crate::model::{Remotes, slot_of};

/// Up to this many distinct sets of remotes each is asked; with more, a table answers.
const FEW_SETS: usize = 4;

/// Finds the rules of a port that cover a remote.
#[derive(Debug)]
pub(crate) enum RemoteIndex {
    /// The distinct sets; a rule's `set` says which one is its own.
    Sets(Box<[Arc<Remotes>]>),
    Table(Table),
}

/// Identities with the rules that cover them. Identities that the same rules cover share a class.
#[derive(Debug)]
pub(crate) struct Table {
    /// Open addressing as in `Remotes`. Class 0, that of all other identities, marks free slots.
    slots: Box<[(u32, u32)]>,
    classes: Box<[Class]>,
}

#[derive(Debug)]
pub(crate) struct Class {
    /// Indices of rules, ascending.
    pub rules: Box<[u32]>,
    /// Those that an index by path does not find.
    pub unindexed: Box<[u32]>,
}

/// The rules that cover a remote, in evaluation order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Candidates<'a> {
    /// Rules whose set's bit is there.
    Mask(u32),
    Listed(&'a Class),
}

impl RemoteIndex {
    /// Indexes the rules and tells each which set is its own. `unindexed` says which rules an index by path does not
    /// find.
    pub(crate) fn new(rules: &mut [PortRule], unindexed: &[u32]) -> Self {
        let mut sets: Vec<Arc<Remotes>> = Vec::new();
        let mut known = HashMap::new();
        for at in &mut *rules {
            let next = sets.len();
            let set = *known.entry(Arc::as_ptr(&at.rule.remotes)).or_insert(next);
            if set == next {
                sets.push(Arc::clone(&at.rule.remotes));
            }
            at.set = index(set);
        }
        if sets.len() <= FEW_SETS { Self::Sets(sets.into()) } else { Self::Table(Table::new(rules, &sets, unindexed)) }
    }

    pub(crate) fn find(&self, remote: u32) -> Candidates<'_> {
        match self {
            Self::Sets(sets) => {
                let mut mask = 0;
                for (bit, set) in sets.iter().enumerate() {
                    mask |= u32::from(set.contains(remote)) << bit;
                }
                Candidates::Mask(mask)
            }
            Self::Table(table) => Candidates::Listed(table.find(remote)),
        }
    }
}

impl Table {
    fn new(rules: &[PortRule], sets: &[Arc<Remotes>], unindexed: &[u32]) -> Self {
        let any: Vec<u32> = (0..).zip(sets).filter(|(_, set)| set.is_any()).map(|(set, _)| set).collect();
        let mut pairs: Vec<(u32, u32)> =
            (0..).zip(sets).flat_map(|(number, set)| set.as_slice().iter().map(move |&id| (id, number))).collect();
        pairs.sort_unstable();
        let mut of_set = vec![Members::default(); sets.len()];
        for (rule, at) in (0..).zip(rules) {
            of_set[at.set as usize].rules.push(rule);
        }
        for &rule in unindexed {
            of_set[rules[rule as usize].set as usize].unindexed.push(rule);
        }
        let mut classes = vec![class(&of_set, &any)];
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let identities = pairs.chunk_by(|a, b| a.0 == b.0).count();
        let mut slots = vec![(0, 0); (identities * 4 / 3 + 1).next_power_of_two()].into_boxed_slice();
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            let mut own: Vec<u32> = group.iter().map(|(_, set)| *set).collect();
            let number = *known.entry(own.clone()).or_insert_with(|| {
                own.extend_from_slice(&any);
                classes.push(class(&of_set, &own));
                index(classes.len() - 1)
            });
            let mask = slots.len() - 1;
            let mut slot = slot_of(group[0].0, slots.len());
            while slots[slot].1 != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = (group[0].0, number);
        }
        Self { slots, classes: classes.into() }
    }

    fn find(&self, remote: u32) -> &Class {
        let mask = self.slots.len() - 1;
        let mut slot = slot_of(remote, self.slots.len());
        loop {
            let (identity, class) = self.slots[slot & mask];
            if class == 0 || identity == remote {
                return &self.classes[class as usize];
            }
            slot += 1;
        }
    }
}

/// The rules of one set of remotes.
#[derive(Clone, Default)]
struct Members {
    rules: Vec<u32>,
    unindexed: Vec<u32>,
}

fn class(of_set: &[Members], sets: &[u32]) -> Class {
    let merged = |list: fn(&Members) -> &[u32]| {
        let mut rules: Vec<u32> = sets.iter().flat_map(|&set| list(&of_set[set as usize])).copied().collect();
        rules.sort_unstable();
        rules.into_boxed_slice()
    };
    Class { rules: merged(|members| &members.rules), unindexed: merged(|members| &members.unindexed) }
}

/// A port has fewer rules than `u32` counts: see the limits of updates.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
