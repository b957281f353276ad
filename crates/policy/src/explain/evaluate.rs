//! Evaluates rule by rule and keeps a record. Shares the matchers with the verdicts, but none of their short cuts.

use std::ops::ControlFlow;

use crate::compile::PortRule;
use crate::explain::{ActionStep, Alternative, Check, Outcome, Question, RuleStep, Stage, Trace};
use crate::headers::{HeaderList, HeaderLog, View};
use crate::metadata::Metadata;
use crate::model::{Effect, MetadataRule, Rule};
use crate::reason::position;
use crate::update::EndpointPolicy;
use crate::verdict::Verdict;

impl EndpointPolicy {
    /// Answers a question with the whole way to the verdict. The verdict is that of [`PortPolicy`](crate::PortPolicy).
    #[must_use]
    pub fn explain(&self, question: &Question<'_>) -> Trace {
        let Question { direction, port, proxy_id, remote, .. } = *question;
        let policy = self.port(direction, port);
        let found = self.table(direction).find(port);
        let mut stages = vec![stage(self, question, "connection", &policy.network(proxy_id, remote, question.sni))];
        let mut headers = question.headers.cloned();
        let mut log = HeaderLog::default();
        if let (Some(headers), true) = (&mut headers, stages.iter().all(|stage| stage.allowed)) {
            let verdict = policy.http(proxy_id, remote, headers, &mut log);
            stages.push(stage(self, question, "request", &verdict));
        }
        if let (Some(metadata), true) = (question.metadata, stages.iter().all(|stage| stage.allowed)) {
            stages.push(stage(self, question, "metadata", &policy.metadata(proxy_id, remote, metadata)));
        }
        let last = stages.last();
        Trace {
            allowed: stages.iter().all(|stage| stage.allowed),
            reason: last.map(|stage| stage.reason.clone()).unwrap_or_default(),
            code: last.map_or("", |stage| stage.code),
            endpoint: question.endpoint.to_owned(),
            resource: Some(self.resource().to_owned()).filter(|resource| !resource.is_empty()),
            endpoint_id: self.endpoint_id(),
            direction: direction.as_str(),
            port,
            ports: found.map(|(ports, _)| ports.to_string()),
            stages,
            l7_parser: policy.l7_parser(proxy_id, remote).map(ToOwned::to_owned),
            headers: headers.map(|headers| pairs(&headers.0)),
            missing: pairs(&log.missing),
            rejected: pairs(&log.rejected),
        }
    }
}

fn pairs(list: &[(String, Vec<u8>)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn stage(policy: &EndpointPolicy, question: &Question<'_>, name: &'static str, verdict: &Verdict<'_>) -> Stage {
    let mut headers = question.headers.cloned().unwrap_or_default();
    let rules = match policy.table(question.direction).find(question.port) {
        Some((_, rules)) if name != "request" || rules.has_http => {
            let all_at_precedence = name == "request" && rules.has_header_actions;
            steps(&rules.rules, question, all_at_precedence, |rule, step| match (name, question.metadata) {
                ("request", _) => http(rule, &mut headers, step),
                ("metadata", Some(metadata)) => self::metadata(rule, metadata, step),
                _ => server_name(rule, question.sni, step),
            })
        }
        _ => Vec::new(),
    };
    let reason = &verdict.reason;
    Stage {
        name,
        allowed: verdict.allowed,
        code: reason.code(),
        reason: reason.describe(question.endpoint).to_string(),
        rules,
    }
}

/// Asks each rule in order. `test` asks what is particular to the stage, once remote and proxy id fit.
fn steps(
    rules: &[PortRule],
    question: &Question<'_>,
    all_at_precedence: bool,
    mut test: impl FnMut(&Rule, &mut RuleStep) -> Option<Effect>,
) -> Vec<RuleStep> {
    let mut allowed_at = None;
    let mut resume = 0;
    let mut ended = ControlFlow::Continue(());
    let mut steps = Vec::with_capacity(rules.len());
    for (index, at) in rules.iter().enumerate() {
        let rule = &*at.rule;
        let mut step = describe(at, question);
        if allowed_at.is_some_and(|precedence| rule.precedence < precedence) {
            ended = ControlFlow::Break(());
        }
        if ended.is_continue() && index < resume {
            step.outcome = Outcome::PassedOver;
        } else if ended.is_continue() {
            let effect = if covers(rule, question, &mut step) { test(rule, &mut step) } else { None };
            step.outcome = match effect {
                None => Outcome::DoesNotApply,
                Some(Effect::Pass(_)) if allowed_at.is_some() => Outcome::PassesTooLate,
                Some(Effect::Pass(_)) => {
                    resume = at.pass_to;
                    Outcome::Passes
                }
                Some(Effect::Deny) => {
                    ended = ControlFlow::Break(());
                    Outcome::Denies
                }
                Some(Effect::Allow) => {
                    allowed_at = Some(rule.precedence);
                    if !all_at_precedence {
                        ended = ControlFlow::Break(());
                    }
                    Outcome::Allows
                }
            };
        }
        steps.push(step);
    }
    steps
}

fn describe(at: &PortRule, question: &Question<'_>) -> RuleStep {
    let rule = &*at.rule;
    RuleStep {
        name: Some(rule.name.to_string()).filter(|name| !name.is_empty()),
        position: position(question.direction, at.origin),
        precedence: rule.precedence,
        effect: match rule.effect {
            Effect::Deny => "deny".to_owned(),
            Effect::Allow => "allow".to_owned(),
            Effect::Pass(precedence) => format!("pass to {precedence}"),
        },
        outcome: Outcome::NotReached,
        checks: Vec::new(),
        alternatives: Vec::new(),
    }
}

fn covers(rule: &Rule, question: &Question<'_>, step: &mut RuleStep) -> bool {
    if rule.proxy_id != 0 {
        step.checks.push(Check {
            subject: "proxy_id".to_owned(),
            expected: rule.proxy_id.to_string(),
            actual: Some(question.proxy_id.to_string()),
            passed: rule.covers_proxy(question.proxy_id),
        });
    }
    if !rule.remotes.is_any() {
        step.checks.push(Check {
            subject: "remote".to_owned(),
            expected: remotes(rule.remotes.as_slice()),
            actual: Some(question.remote.to_string()),
            passed: rule.remotes.contains(question.remote),
        });
    }
    step.checks.iter().all(|check| check.passed)
}

/// Identities in words, without those beyond the first few.
fn remotes(identities: &[u32]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = identities.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = identities.len().saturating_sub(SHOWN);
    let suffix = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("one of {}{suffix}", shown.join(", "))
}

fn server_name(rule: &Rule, sni: &str, step: &mut RuleStep) -> Option<Effect> {
    let passed = rule.covers_sni(sni);
    if !rule.server_names.is_empty() {
        let names: Vec<_> = rule.server_names.iter().map(|name| format!("{:?}", name.as_str())).collect();
        step.checks.push(Check {
            subject: "server_name".to_owned(),
            expected: format!("one of {}", names.join(", ")),
            actual: Some(sni.to_owned()).filter(|sni| !sni.is_empty()),
            passed,
        });
    }
    passed.then_some(rule.effect)
}

fn http(rule: &Rule, headers: &mut HeaderList, step: &mut RuleStep) -> Option<Effect> {
    if rule.effect != Effect::Allow || rule.http.is_empty() {
        return Some(rule.effect);
    }
    let mut allowed = false;
    for (index, http) in rule.http.iter().enumerate() {
        let mut alternative =
            Alternative { name: format!("HTTP rule {index}"), matched: true, checks: Vec::new(), actions: Vec::new() };
        for matcher in &*http.headers {
            let view = View::of(headers, &matcher.name);
            alternative.matched = matcher.matches(view.get());
            alternative.checks.push(Check {
                subject: matcher.name.to_string(),
                expected: matcher.to_string(),
                actual: view.get().map(text),
                passed: alternative.matched,
            });
            if !alternative.matched {
                break;
            }
        }
        if alternative.matched {
            for action in &*http.actions {
                let outcome = action.apply(headers, &mut HeaderLog::default());
                alternative.matched &= outcome.passes();
                alternative.actions.push(ActionStep {
                    header: action.name.to_string(),
                    expected: action.to_string(),
                    outcome: outcome.as_str(),
                    passed: outcome.passes(),
                });
            }
        }
        allowed |= alternative.matched;
        step.alternatives.push(alternative);
        if allowed && !rule.has_header_actions {
            break;
        }
    }
    allowed.then_some(Effect::Allow)
}

fn metadata(rule: &Rule, metadata: &Metadata, step: &mut RuleStep) -> Option<Effect> {
    if rule.effect != Effect::Allow {
        return Some(rule.effect);
    }
    let Some(rules) = rule.l7.metadata() else { return Some(Effect::Allow) };
    let mut any = |kind: &str, list: &[MetadataRule]| {
        let mut matched = false;
        for (index, rule) in list.iter().enumerate() {
            let alternative = metadata_rule(kind, index, rule, metadata);
            matched = alternative.matched;
            step.alternatives.push(alternative);
            if matched {
                break;
            }
        }
        matched
    };
    if any("deny", &rules.deny) {
        return Some(Effect::Deny);
    }
    (rules.allow.is_empty() || any("allow", &rules.allow)).then_some(Effect::Allow)
}

fn metadata_rule(kind: &str, index: usize, rule: &MetadataRule, metadata: &Metadata) -> Alternative {
    let checks: Vec<_> = rule
        .matchers
        .iter()
        .map(|matcher| Check {
            subject: "metadata".to_owned(),
            expected: matcher.to_string(),
            actual: metadata.get(&matcher.filter, &matcher.path).map(ToString::to_string),
            passed: matcher.matches(metadata),
        })
        .collect();
    let name = if rule.name.is_empty() { String::new() } else { format!(" {:?}", rule.name) };
    Alternative {
        name: format!("metadata {kind} rule {index}{name}"),
        matched: checks.iter().all(|check| check.passed),
        checks,
        actions: Vec::new(),
    }
}
