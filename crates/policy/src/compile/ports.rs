//! Entries for ports and ranges, split where they overlap.

use std::sync::Arc;

use crate::compile::{Origin, PortRule, PortRules};
use crate::decode::FieldError;
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
    /// Ascending, without overlaps, without port 0.
    pub ranges: Box<[(Ports, Arc<PortRules>)]>,
    /// Ports without a range of their own.
    pub wildcard: Option<Arc<PortRules>>,
}

const WILDCARD: Ports = Ports { first: 0, last: 0 };

impl PortTable {
    /// Merges the entries of one direction.
    pub(crate) fn new(entries: &[Arc<Entry>]) -> Result<Self, FieldError> {
        let list = |ports: Ports| rules_of(entries, ports);
        let wildcard = has_port(entries, WILDCARD).then(|| list(WILDCARD));
        let mut ranges = Vec::new();
        for ports in split(entries) {
            let mut rules = list(ports);
            if let Some(wildcard) = &wildcard {
                if rules.is_empty() != wildcard.is_empty() {
                    rules.push(default_rule());
                }
                rules.extend_from_slice(wildcard);
            }
            let rules = PortRules::new(rules).map_err(|problem| FieldError::new("", problem))?;
            if !rules.only_passes() {
                ranges.push((ports, Arc::new(rules)));
            }
        }
        let wildcard = match wildcard {
            Some(rules) => {
                let rules = PortRules::new(rules).map_err(|problem| FieldError::new("", problem))?;
                (!rules.only_passes()).then(|| Arc::new(rules))
            }
            None => None,
        };
        Ok(Self { ranges: ranges.into(), wildcard })
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

fn has_port(entries: &[Arc<Entry>], ports: Ports) -> bool {
    entries.iter().any(|entry| entry.ports == Some(ports))
}

/// The smallest ranges such that each is covered wholly, or not at all, by every entry.
fn split(entries: &[Arc<Entry>]) -> Vec<Ports> {
    let given: Vec<Ports> = entries.iter().filter_map(|entry| entry.ports).filter(|ports| *ports != WILDCARD).collect();
    let mut starts: Vec<u32> =
        given.iter().flat_map(|ports| [u32::from(ports.first), u32::from(ports.last) + 1]).collect();
    starts.sort_unstable();
    starts.dedup();
    starts
        .windows(2)
        .filter_map(|pair| Some(Ports { first: pair[0].try_into().ok()?, last: (pair[1] - 1).try_into().ok()? }))
        .filter(|piece| given.iter().any(|ports| ports.first <= piece.first && piece.last <= ports.last))
        .collect()
}

/// The rules of all entries that cover `piece`. Entries for a single port go before what is there, each of their
/// rules before the last one; entries for a range go behind. Where an entry without rules meets one with rules, a
/// rule that allows all keeps the meaning of the empty one.
fn rules_of(entries: &[Arc<Entry>], piece: Ports) -> Vec<PortRule> {
    let mut merged: Option<Vec<PortRule>> = None;
    for (position, entry) in entries.iter().enumerate() {
        let Some(ports) = entry.ports else { continue };
        if ports.first > piece.first || piece.last > ports.last {
            continue;
        }
        let mut added: Vec<PortRule> = entry
            .rules
            .iter()
            .enumerate()
            .map(|(rule_position, rule)| PortRule {
                rule: Arc::clone(rule),
                origin: Origin { entry: index(position), rule: index(rule_position) },
                pass_to: 0,
                set: 0,
            })
            .collect();
        let single = ports.first == ports.last;
        let mut rules = merged.take().map_or_else(Vec::new, |mut rules| {
            if rules.is_empty() != added.is_empty() {
                rules.insert(if single { 0 } else { rules.len() }, default_rule());
            }
            rules
        });
        if single {
            added.reverse();
            added.append(&mut rules);
            merged = Some(added);
        } else {
            rules.append(&mut added);
            merged = Some(rules);
        }
    }
    merged.unwrap_or_default()
}

fn default_rule() -> PortRule {
    PortRule { rule: Arc::new(Rule::default_allow()), origin: Origin::DEFAULT, pass_to: 0, set: 0 }
}

/// Messages hold fewer elements than `u32` counts.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
