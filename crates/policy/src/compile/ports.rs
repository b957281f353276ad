//! Entries for ports and ranges, split where they overlap.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::compile::rules::sort;
use crate::compile::{Origin, PortRule, PortRules};
use crate::model::Rule;

/// A `PortNetworkPolicy`.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `None`: not TCP, so without effect.
    pub ports: Option<Ports>,
    pub rules: Box<[Arc<Rule>]>,
}

/// Ports, both ends included. Port 0 alone stands for every port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ports {
    pub first: u16,
    pub last: u16,
}

/// The rules of one direction, by port.
#[derive(Debug, Default)]
pub(crate) struct PortTable {
    /// As in the resource.
    pub entries: Box<[Arc<Entry>]>,
    /// Ascending, without overlaps, without port 0.
    pub ranges: Box<[(Ports, Arc<PortRules>)]>,
    /// Ports without a range of their own.
    pub wildcard: Option<Arc<PortRules>>,
}

const WILDCARD: Ports = Ports { first: 0, last: 0 };

/// Most rules that the ranges of one direction may have together. Entries that overlap multiply their rules.
pub(crate) const MAX_MERGED_RULES: usize = 4_000_000;

impl PortTable {
    /// Merges the entries of one direction. `share` makes the rules of a range, or finds equal ones.
    pub(crate) fn new(
        entries: Box<[Arc<Entry>]>,
        default: &Arc<Rule>,
        mut share: impl FnMut(Vec<PortRule>) -> Result<Arc<PortRules>, String>,
    ) -> Result<Self, String> {
        let default = PortRule::new(default, Origin::DEFAULT);
        let covering = |ports| covering(&entries, ports);
        let wildcard = match &covering(WILDCARD)[..] {
            [] => None,
            positions => Some(merge(&entries, positions, &default)),
        };
        let mut finish = |mut rules: Vec<PortRule>| {
            sort(&mut rules);
            share(rules).map(|rules| Some(rules).filter(|rules| !rules.only_passes()))
        };
        let mut budget = MAX_MERGED_RULES;
        let mut ranges = Vec::new();
        for (ports, positions) in split(&entries) {
            let mut rules = merge(&entries, &positions, &default);
            if let Some(wildcard) = &wildcard {
                if rules.is_empty() != wildcard.is_empty() {
                    rules.push(default.clone());
                }
                rules.extend_from_slice(wildcard);
            }
            budget = budget
                .checked_sub(rules.len())
                .ok_or_else(|| format!("overlapping entries make more than {MAX_MERGED_RULES} rules"))?;
            if let Some(rules) = finish(rules)? {
                ranges.push((ports, rules));
            }
        }
        let wildcard = wildcard.map_or(Ok(None), finish)?;
        Ok(Self { entries, ranges: ranges.into(), wildcard })
    }

    /// The rules for a port, with the ports they were given for.
    pub(crate) fn find(&self, port: u16) -> Option<(Ports, &PortRules)> {
        let index = self.ranges.partition_point(|(ports, _)| ports.last < port);
        match self.ranges.get(index) {
            Some((ports, rules)) if ports.first <= port => Some((*ports, rules)),
            _ => self.wildcard.as_deref().map(|rules| (WILDCARD, rules)),
        }
    }
}

/// Positions of the entries for exactly these ports.
fn covering(entries: &[Arc<Entry>], ports: Ports) -> Vec<usize> {
    (0..entries.len()).filter(|&position| entries[position].ports == Some(ports)).collect()
}

/// The smallest ranges such that each is covered wholly, or not at all, by every entry, with the positions of the
/// entries that cover them.
fn split(entries: &[Arc<Entry>]) -> Vec<(Ports, Vec<usize>)> {
    let mut borders: Vec<(u32, usize)> = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        if let Some(ports) = entry.ports.filter(|ports| *ports != WILDCARD) {
            borders.extend([(u32::from(ports.first), position), (u32::from(ports.last) + 1, position)]);
        }
    }
    borders.sort_unstable();
    let mut open = BTreeSet::new();
    let mut pieces = Vec::new();
    let mut start = 0;
    for &(border, position) in &borders {
        if border > start
            && !open.is_empty()
            && let (Ok(first), Ok(last)) = (u16::try_from(start), u16::try_from(border - 1))
        {
            pieces.push((Ports { first, last }, open.iter().copied().collect()));
        }
        start = border;
        // The first border of an entry opens it, the second closes it.
        if !open.remove(&position) {
            open.insert(position);
        }
    }
    pieces
}

/// The rules of the entries at `positions`. Entries for a single port go before what is there, each of their rules
/// before the last one; entries for a range go behind. Where an entry without rules meets one with rules, a rule that
/// allows all keeps the meaning of the empty one.
fn merge(entries: &[Arc<Entry>], positions: &[usize], default: &PortRule) -> Vec<PortRule> {
    // Built from the middle outwards: `front` is reversed.
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let mut had_rules = false;
    for (nth, &position) in positions.iter().enumerate() {
        let entry = &entries[position];
        let list = if entry.ports.is_some_and(|ports| ports.first == ports.last) { &mut front } else { &mut back };
        if nth > 0 && had_rules == entry.rules.is_empty() {
            list.push(default.clone());
        }
        had_rules |= !entry.rules.is_empty();
        list.extend((0..).zip(&entry.rules).map(|(number, rule)| {
            let entry = u32::try_from(position).unwrap_or(u32::MAX);
            PortRule::new(rule, Origin { entry, rule: number })
        }));
    }
    front.reverse();
    front.append(&mut back);
    front
}
