//! Rules of policies, compiled once per policy.

mod compile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cilium_policy::{GenericRule, KafkaRule};
use thiserror::Error;

use crate::custom::CustomRule;
use crate::request::{Decision, Request};
use crate::{cassandra, kafka, memcache, r2d2, test_parsers};

pub(crate) use compile::{Fields, regex};
pub use compile::{compile_custom, compile_rules};

/// The L7 part of a policy's rule.
#[derive(Debug, Clone, Copy)]
pub enum RuleSet<'a> {
    /// None: every request is allowed.
    Any,
    /// `l7_rules`.
    Generic {
        /// Empty: every request is allowed.
        allow: &'a [GenericRule],
        /// These win over those that allow.
        deny: &'a [GenericRule],
    },
    /// `kafka_rules`; empty: every request is allowed.
    Kafka(&'a [KafkaRule]),
}

/// The L7 part of a policy's rule, ready to match.
#[derive(Debug, Default)]
pub struct CompiledRules {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    name: Option<Arc<str>>,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Header(test_parsers::HeaderRule),
    R2d2(r2d2::CommandRule),
    Memcache(memcache::KeyRule),
    Kafka(KafkaRule),
    Cassandra(cassandra::StatementRule),
    Custom(Box<dyn CustomRule>),
}

/// Why rules are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("L7 rules of {parser}: {detail}")]
pub struct RulesError {
    parser: String,
    detail: String,
}

/// Decides by all rules that apply to a connection: one that denies wins; else one must allow.
///
/// `sets` are the L7 parts of the rules that fit the connection; none of them means denied.
pub fn decide<'r>(sets: impl Iterator<Item = &'r CompiledRules> + Clone, request: &Request<'_>) -> Decision {
    for rule in sets.clone().flat_map(|set| &set.deny) {
        if rule.matcher.denies(request) {
            return Decision { allowed: false, rule: rule.name.clone() };
        }
    }
    if sets.clone().any(|set| set.allow.is_empty()) {
        return Decision::ALLOWED;
    }
    let mut rules = sets.flat_map(|set| &set.allow);
    let matchers = rules.clone().map(|rule| &rule.matcher);
    if let Some(rule) = rules.find(|rule| rule.matcher.allows(request)) {
        return Decision { allowed: true, rule: rule.name.clone() };
    }
    Decision { allowed: together(matchers, request), rule: None }
}

/// Whether rules of these sets allow together what a request does, none of them all of it. Each alone was asked before.
pub(crate) fn decide_together<'r>(
    sets: impl Iterator<Item = &'r CompiledRules> + Clone,
    request: &Request<'_>,
) -> bool {
    together(sets.flat_map(|set| &set.allow).map(|rule| &rule.matcher), request)
}

/// Several rules allow what a request does, none of them all of it.
fn together<'r>(matchers: impl Iterator<Item = &'r Matcher> + Clone, request: &Request<'_>) -> bool {
    match request {
        Request::Kafka(request) => {
            let rules =
                matchers.filter_map(|matcher| if let Matcher::Kafka(rule) = matcher { Some(rule) } else { None });
            kafka::decide(rules, request)
        }
        Request::Memcache(request) => {
            let rules =
                matchers.filter_map(|matcher| if let Matcher::Memcache(rule) = matcher { Some(rule) } else { None });
            memcache::decide(&rules, request)
        }
        _ => false,
    }
}

impl CompiledRules {
    /// Decides by these rules alone.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        decide(std::iter::once(self), request)
    }
}

impl Matcher {
    /// The rule fits everything the request names.
    fn allows(&self, request: &Request<'_>) -> bool {
        match (self, request) {
            (Self::Header(rule), Request::Header(line)) => rule.matches(line),
            (Self::R2d2(rule), Request::R2d2(command)) => rule.matches(command),
            (Self::Memcache(rule), Request::Memcache(request)) => rule.allows(request),
            (Self::Cassandra(rule), Request::Cassandra(statement)) => rule.allows(statement),
            (Self::Custom(rule), Request::Custom(message)) => rule.matches(*message) == Some(true),
            _ => false,
        }
    }

    /// The rule fits something the request names. A rule of another protocol denies too: it must not be ignored.
    fn denies(&self, request: &Request<'_>) -> bool {
        match (self, request) {
            (Self::Header(rule), Request::Header(line)) => rule.matches(line),
            (Self::R2d2(rule), Request::R2d2(command)) => rule.matches(command),
            (Self::Memcache(rule), Request::Memcache(request)) => rule.denies(request),
            (Self::Cassandra(rule), Request::Cassandra(statement)) => rule.denies(statement),
            (Self::Custom(rule), Request::Custom(message)) => rule.matches(*message) != Some(false),
            _ => true,
        }
    }
}
