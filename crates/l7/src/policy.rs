//! The rules of a port as a parser's messages meet them: compiled once per policy, asked for each message.

use std::sync::Arc;

use cilium_policy::{GenericRule, L7Candidate, L7RuleSet, PortPolicy};

use crate::custom::Protocol;
use crate::request::{Decision, Request};
use crate::rules::{self, CompiledRules, RuleSet, RulesError, compile_custom, compile_rules};
use crate::{mongo, mysql};

/// What a port says to the messages of a connection. To be made anew when the policy changes.
pub struct PortRules {
    proxy_id: u16,
    remote: u32,
    answer: Answer,
}

/// Whom a port is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The parser of the connection.
    pub parser: &'a str,
    /// Number of the listener.
    pub proxy_id: u16,
    /// Identity of the other side.
    pub remote: u32,
    /// Server name of a TLS client; empty without.
    pub server_name: &'a str,
    /// The parser's protocol, if it comes from outside of this crate.
    pub protocol: Option<&'a dyn Protocol>,
}

enum Answer {
    Nothing(String),
    /// There are no rules.
    Everything,
    By(Rules),
}

impl PortRules {
    /// Compiles the rules of a port; `endpoint` is in the sentence of [`Self::problem`].
    #[must_use]
    pub fn new(port: PortPolicy<'_>, endpoint: &str, asker: Asker<'_>) -> Self {
        let Asker { proxy_id, remote, server_name, .. } = asker;
        let verdict = port.network(proxy_id, remote, server_name);
        let answer = if verdict.allowed {
            match port.l7_rules(proxy_id, remote) {
                Some(candidates) if !port.allows_everything() => {
                    Rules::new(asker, candidates).map_or_else(Answer::Nothing, Answer::By)
                }
                // Allowed without an entry: there is no policy, and egress is allowed then.
                _ => Answer::Everything,
            }
        } else {
            Answer::Nothing(verdict.reason.describe(endpoint).to_string())
        };
        Self { proxy_id, remote, answer }
    }

    /// Why all messages are denied, if they are.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match &self.answer {
            Answer::Nothing(why) => Some(why),
            Answer::Everything | Answer::By(_) => None,
        }
    }

    /// Decides on a message; `port` is the one that the rules are of.
    #[must_use]
    pub fn decide(&self, port: PortPolicy<'_>, request: &Request<'_>) -> Decision {
        match (&self.answer, request) {
            (Answer::Nothing(_), _) => Decision::DENIED,
            (Answer::Everything, _) => Decision::ALLOWED,
            (Answer::By(_), Request::Metadata(metadata)) => {
                let verdict = port.metadata(self.proxy_id, self.remote, metadata);
                Decision { allowed: verdict.allowed, rule: verdict.reason.rule().map(Into::into) }
            }
            (Answer::By(rules), request) => rules.decide(request),
        }
    }
}

/// The rules of a port that cover a connection.
struct Rules {
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
    fn new<'a>(asker: Asker<'_>, candidates: impl Iterator<Item = L7Candidate<'a>>) -> Result<Self, String> {
        let rules = candidates.map(|candidate| Rule::new(asker, &candidate)).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// The highest precedence at which a rule fits the message decides; there, one that denies wins.
    fn decide(&self, request: &Request<'_>) -> Decision {
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
    // Rules may allow the parts of a request only together.
    let several = allowing.clone().nth(1).is_some();
    let allowed = several && rules::decide_together(allowing.map(|(_, allowing)| allowing), request);
    allowed.then_some(Decision { allowed: true, rule: None })
}

impl Rule {
    fn new(asker: Asker<'_>, candidate: &L7Candidate<'_>) -> Result<Self, String> {
        let effect = match candidate.pass_below {
            _ if candidate.deny => Effect::Deny,
            Some(limit) => Effect::Pass(limit),
            None => payload(asker, candidate)?,
        };
        Ok(Self { precedence: candidate.precedence, name: candidate.name.map(Into::into), effect })
    }
}

fn payload(asker: Asker<'_>, candidate: &L7Candidate<'_>) -> Result<Effect, String> {
    let Asker { parser, protocol, .. } = asker;
    let any = matches!(candidate.rules, L7RuleSet::Any);
    if candidate.l7_proto != parser && !(any && candidate.l7_proto.is_empty()) {
        return Err(match candidate.l7_proto {
            "" => format!("a rule without parser has rules that {parser} cannot check"),
            other => format!("a rule wants the parser {other}, where another wants {parser}"),
        });
    }
    let compiled = |set| {
        let compiled = match protocol {
            Some(protocol) => compile_custom(parser, protocol, set),
            None => compile_rules(parser, set),
        };
        compiled.map_err(|error: RulesError| error.to_string())
    };
    let (denying, allowing) = match candidate.rules {
        L7RuleSet::Any => (CompiledRules::default(), CompiledRules::default()),
        L7RuleSet::Http => return Err(format!("a rule has HTTP rules, which {parser} cannot check")),
        L7RuleSet::Kafka(rules) => (CompiledRules::default(), compiled(RuleSet::Kafka(rules))?),
        // These have metadata rules, which the engine decides by.
        L7RuleSet::Generic { allow, deny } if judged_by_metadata(parser) => {
            if allow.iter().chain(deny).any(|rule| !rule.fields.is_empty()) {
                return Err(format!("{parser} takes metadata rules only"));
            }
            (CompiledRules::default(), CompiledRules::default())
        }
        L7RuleSet::Generic { allow, deny } if has_metadata(allow) || has_metadata(deny) => {
            return Err(format!("a rule has matchers of metadata, which {parser} does not report"));
        }
        L7RuleSet::Generic { allow, deny } => {
            (compiled(RuleSet::Generic { allow: &[], deny })?, compiled(RuleSet::Generic { allow, deny: &[] })?)
        }
    };
    Ok(Effect::Allow { denying, allowing })
}

fn has_metadata(rules: &[GenericRule]) -> bool {
    rules.iter().any(|rule| rule.has_metadata)
}

fn judged_by_metadata(parser: &str) -> bool {
    [mongo::NAME, mysql::NAME].contains(&parser)
}

#[cfg(test)]
mod tests;
