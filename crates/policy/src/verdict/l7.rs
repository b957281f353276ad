//! Rules of protocols other than HTTP.

use crate::metadata::Metadata;
use crate::model::{Effect, GenericRule, KafkaRule, L7Rules, MetadataRule, Rule};
use crate::verdict::PortPolicy;

/// A rule that covers a connection, for parsers that judge each message. In evaluation order.
#[derive(Debug, Clone, Copy)]
pub struct L7Candidate<'a> {
    /// The rule denies whatever its payload.
    pub deny: bool,
    /// Where evaluation goes on if the rule passes: rules at least of this precedence are skipped.
    pub pass_below: Option<u32>,
    /// Higher values are evaluated first.
    pub precedence: u32,
    /// The rule's name.
    pub name: Option<&'a str>,
    /// The parser the rule is for; empty: none.
    pub l7_proto: &'a str,
    /// What a message must look like.
    pub rules: L7RuleSet<'a>,
}

/// The payload rules of a rule.
#[derive(Debug, Clone, Copy)]
pub enum L7RuleSet<'a> {
    /// Every message is allowed.
    Any,
    /// A message that fits one of these is allowed.
    Kafka(&'a [KafkaRule]),
    /// A message that fits one of `deny` is denied; else one that fits one of `allow`, or any if `allow` is empty, is
    /// allowed.
    Generic {
        /// Allowing rules.
        allow: &'a [GenericRule],
        /// Denying rules.
        deny: &'a [GenericRule],
    },
    /// HTTP rules, which parsers do not read: no message fits.
    Http,
}

impl<'a> PortPolicy<'a> {
    /// The rules that cover a connection, in evaluation order, for parsers that judge each message. `None`: the port
    /// has no entry, which denies; no rules at all: everything is allowed.
    #[must_use]
    pub fn l7_rules(&self, proxy_id: u16, remote: u32) -> Option<impl Iterator<Item = L7Candidate<'a>>> {
        let (_, rules) = self.rules?;
        let covers = move |rule: &Rule| rule.covers_proxy(proxy_id) && rule.remotes.contains(remote);
        Some(rules.rules.iter().filter(move |at| covers(&at.rule)).map(|at| candidate(&at.rule)))
    }

    /// Whether the port has an entry and none of its entries has rules.
    #[must_use]
    pub fn allows_everything(&self) -> bool {
        self.rules.is_some_and(|(_, rules)| rules.rules.is_empty())
    }
}

fn candidate(rule: &Rule) -> L7Candidate<'_> {
    L7Candidate {
        deny: rule.effect == Effect::Deny,
        pass_below: rule.pass_precedence(),
        precedence: rule.precedence,
        name: Some(&*rule.name).filter(|name| !name.is_empty()),
        l7_proto: &rule.l7_proto,
        rules: match &rule.l7 {
            L7Rules::Kafka(rules) => L7RuleSet::Kafka(rules),
            L7Rules::Generic(rules) => L7RuleSet::Generic { allow: &rules.allow, deny: &rules.deny },
            L7Rules::None if rule.http.is_empty() => L7RuleSet::Any,
            L7Rules::None => L7RuleSet::Http,
        },
    }
}

/// What a covering rule says about metadata.
pub(super) fn metadata_effect(rule: &Rule, metadata: &Metadata) -> Option<Effect> {
    if rule.effect != Effect::Allow {
        return Some(rule.effect);
    }
    let Some(rules) = rule.l7.metadata() else { return Some(Effect::Allow) };
    if rules.deny.iter().any(|rule| matches(rule, metadata)) {
        return Some(Effect::Deny);
    }
    let allowed = rules.allow.is_empty() || rules.allow.iter().any(|rule| matches(rule, metadata));
    allowed.then_some(Effect::Allow)
}

fn matches(rule: &MetadataRule, metadata: &Metadata) -> bool {
    rule.matchers.iter().all(|matcher| matcher.matches(metadata))
}
