//! A port's rules as a parser's messages meet them: compiled once, asked for each message.

use std::sync::Arc;

use cilium_l7::{CompiledRules, Decision, Request, RuleSet, RulesError, compile_rules, rules};
use cilium_policy::{GenericRule, L7Candidate, L7RuleSet};

/// The rules of a port that cover a connection.
pub(super) struct Rules {
    /// In evaluation order.
    rules: Vec<Rule>,
}

struct Rule {
    precedence: u32,
    name: Option<Arc<str>>,
    effect: Effect,
}

enum Effect {
    Deny,
    /// Skips the rules at least of this precedence.
    Pass(u32),
    Allow {
        /// Allows what none of its rules denies.
        denying: CompiledRules,
        allowing: CompiledRules,
    },
}

impl Rules {
    /// Compiles the rules for a parser, or says why one of them cannot be checked by it.
    pub(super) fn new<'a>(parser: &str, candidates: impl Iterator<Item = L7Candidate<'a>>) -> Result<Self, String> {
        let rules = candidates.map(|candidate| Rule::new(parser, &candidate)).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// The highest precedence at which a rule fits the message decides; there, one that denies wins.
    pub(super) fn decide(&self, request: &Request<'_>) -> Decision {
        let mut below = None;
        for tier in self.rules.chunk_by(|one, next| one.precedence == next.precedence) {
            if below.is_some_and(|limit| tier[0].precedence >= limit) {
                continue;
            }
            if let Some(decision) = denied(tier, request).or_else(|| allowed(tier, request)) {
                return decision;
            }
            let mut passes = tier.iter().filter_map(|rule| match rule.effect {
                Effect::Pass(limit) => Some(limit),
                _ => None,
            });
            below = passes.next().or(below);
        }
        Decision::DENIED
    }
}

fn denied(tier: &[Rule], request: &Request<'_>) -> Option<Decision> {
    tier.iter().find_map(|rule| {
        let by = match &rule.effect {
            Effect::Deny => None,
            Effect::Allow { denying, .. } => Some(denying.decide(request)).filter(|decision| !decision.allowed)?.rule,
            Effect::Pass(_) => return None,
        };
        Some(Decision { allowed: false, rule: by.or_else(|| rule.name.clone()) })
    })
}

fn allowed(tier: &[Rule], request: &Request<'_>) -> Option<Decision> {
    let allowing = tier.iter().filter_map(|rule| match &rule.effect {
        Effect::Allow { allowing, .. } => Some((rule, allowing)),
        _ => None,
    });
    for (rule, allowing) in allowing.clone() {
        let decision = allowing.decide(request);
        if decision.allowed {
            return Some(Decision { allowed: true, rule: decision.rule.or_else(|| rule.name.clone()) });
        }
    }
    // Rules of Kafka may allow a request's topics only together.
    Some(rules::decide(allowing.map(|(_, allowing)| allowing), request)).filter(|decision| decision.allowed)
}

impl Rule {
    fn new(parser: &str, candidate: &L7Candidate<'_>) -> Result<Self, String> {
        let effect = match candidate.pass_below {
            _ if candidate.deny => Effect::Deny,
            Some(limit) => Effect::Pass(limit),
            None => payload(parser, candidate)?,
        };
        Ok(Self { precedence: candidate.precedence, name: candidate.name.map(Into::into), effect })
    }
}

fn payload(parser: &str, candidate: &L7Candidate<'_>) -> Result<Effect, String> {
    let any = matches!(candidate.rules, L7RuleSet::Any);
    if candidate.l7_proto != parser && !(any && candidate.l7_proto.is_empty()) {
        return Err(match candidate.l7_proto {
            "" => format!("a rule without parser has rules that {parser} cannot check"),
            other => format!("a rule wants the parser {other}, where another wants {parser}"),
        });
    }
    let compiled = |set| compile_rules(parser, set).map_err(|error: RulesError| error.to_string());
    let (denying, allowing) = match candidate.rules {
        L7RuleSet::Any => (CompiledRules::default(), CompiledRules::default()),
        L7RuleSet::Http => return Err(format!("a rule has HTTP rules, which {parser} cannot check")),
        L7RuleSet::Kafka(rules) => {
            let rules: Vec<_> = rules.iter().map(kafka).collect();
            (CompiledRules::default(), compiled(RuleSet::Kafka(&rules))?)
        }
        // These have metadata rules, which the engine decides by.
        L7RuleSet::Generic { allow, deny } if judged_by_metadata(parser) => {
            if allow.iter().chain(deny).any(|rule| !rule.fields.is_empty()) {
                return Err(format!("{parser} takes metadata rules only"));
            }
            (CompiledRules::default(), CompiledRules::default())
        }
        L7RuleSet::Generic { allow, deny } if allow.iter().chain(deny).any(|rule| rule.has_metadata) => {
            return Err(format!("a rule has matchers of metadata, which {parser} does not report"));
        }
        L7RuleSet::Generic { allow, deny } => {
            let [allow, deny] = [allow, deny].map(|rules| rules.iter().map(generic).collect::<Vec<_>>());
            (
                compiled(RuleSet::Generic { allow: &[], deny: &deny })?,
                compiled(RuleSet::Generic { allow: &allow, deny: &[] })?,
            )
        }
    };
    Ok(Effect::Allow { denying, allowing })
}

fn judged_by_metadata(parser: &str) -> bool {
    [cilium_l7::mongo::NAME, cilium_l7::mysql::NAME].contains(&parser)
}

fn kafka(rule: &cilium_policy::KafkaRule) -> cilium_l7::KafkaRule {
    cilium_l7::KafkaRule {
        api_version: rule.api_version,
        api_keys: rule.api_keys.clone(),
        client_id: rule.client_id.clone(),
        topic: rule.topic.clone(),
    }
}

fn generic(rule: &GenericRule) -> cilium_l7::GenericRule {
    cilium_l7::GenericRule { name: rule.name.clone(), fields: rule.fields.clone() }
}

#[cfg(test)]
mod tests;
