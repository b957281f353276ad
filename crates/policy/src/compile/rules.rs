//! The rules of one port, in evaluation order.

use std::sync::Arc;

use crate::compile::{PathIndex, RemoteIndex};
use crate::model::{Effect, Rule};

/// Where a rule stands in its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// Index of the port entry. `u32::MAX`: the rule that stands for an entry without rules.
    pub entry: u32,
    pub rule: u32,
}

impl Origin {
    pub(crate) const DEFAULT: Self = Self { entry: u32::MAX, rule: u32::MAX };
}

#[derive(Debug, Clone)]
pub(crate) struct PortRule {
    pub rule: Arc<Rule>,
    pub origin: Origin,
    /// Pass rules: where evaluation goes on.
    pub pass_to: usize,
    /// The number of the rule's remotes among the port's distinct sets.
    pub set: u32,
}

/// The rules of a port or range of ports. No rules: everything is allowed.
#[derive(Debug)]
pub(crate) struct PortRules {
    /// By descending precedence; at one precedence deny, allow, pass.
    pub rules: Box<[PortRule]>,
    pub has_http: bool,
    /// Some rule acts on headers: an allow does not end the evaluation of its precedence.
    pub has_header_actions: bool,
    pub remotes: RemoteIndex,
    /// Only where no rule acts on headers, and where it saves time.
    pub paths: Option<PathIndex>,
}

impl PortRule {
    pub(crate) fn new(rule: &Arc<Rule>, origin: Origin) -> Self {
        Self { rule: Arc::clone(rule), origin, pass_to: 0, set: 0 }
    }

    /// Same rule, same place.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rule, &other.rule) && self.origin == other.origin
    }
}

/// Puts rules in evaluation order.
pub(crate) fn sort(rules: &mut [PortRule]) {
    let order = |effect| match effect {
        Effect::Deny => 0,
        Effect::Allow => 1,
        Effect::Pass(_) => 2,
    };
    rules.sort_by_key(|r| (std::cmp::Reverse(r.rule.precedence), order(r.rule.effect)));
}

impl PortRules {
    /// Finds where pass rules continue, and indexes. `rules` are sorted. Refuses tiers that contradict each other.
    pub(crate) fn new(mut rules: Vec<PortRule>) -> Result<Self, String> {
        let mut tier = None;
        for index in 0..rules.len() {
            let rule = &rules[index].rule;
            let Some(pass) = rule.pass_precedence() else { continue };
            if let Some(tier) = tier
                && rule.precedence >= tier
                && pass != tier
            {
                return Err(format!("PortNetworkPolicy: Inconsistent pass precedence {pass} != {tier}"));
            }
            tier = Some(pass);
            let below = rules.partition_point(|r| r.rule.precedence >= pass);
            rules[index].pass_to = below.max(index + 1);
        }
        let has_http = rules.iter().any(|r| !r.rule.http.is_empty());
        let has_header_actions = rules.iter().any(|r| r.rule.has_header_actions);
        let paths = if has_http && !has_header_actions { PathIndex::new(&rules) } else { None };
        let unindexed = paths.as_ref().map_or(&[][..], |paths| &paths.unindexed);
        let remotes = RemoteIndex::new(&mut rules, unindexed);
        Ok(Self { rules: rules.into(), has_http, has_header_actions, remotes, paths })
    }

    /// A range that only passes never allows anything and must not look like one without HTTP rules.
    pub(crate) fn only_passes(&self) -> bool {
        !self.rules.is_empty() && self.rules.iter().all(|r| r.rule.is_pass())
    }
}
