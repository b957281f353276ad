//! Requests against the HTTP rules of a port.

use crate::compile::{Alternative, Candidates, PathIndex, PortRule, PortRules};
use crate::headers::{HeaderLog, Headers, Lookup};
use crate::model::{Effect, HttpRule, Rule};
use crate::reason::{Miss, Nearest};
use crate::verdict::walk::{Decision, walk};

/// Judges a request where no rule acts on headers.
pub(super) fn judge<'a, H: Headers>(
    rules: &'a PortRules,
    proxy_id: u16,
    remote: u32,
    headers: &H,
) -> Option<Decision<'a>> {
    let candidates = rules.remotes.find(remote);
    let mut lookup = Lookup::new(headers);
    if let Some(paths) = &rules.paths {
        let hits = paths.find(lookup.path());
        // Many alternatives with one path: the remote's own rules may be fewer.
        let few = match candidates {
            Candidates::Mask(_) => true,
            Candidates::Listed(class) => hits.len() <= class.rules.len(),
        };
        if few {
            return judge_indexed(rules, paths, hits, candidates, proxy_id, remote, &mut lookup);
        }
    }
    walk(rules, candidates, true, |at| {
        let rule = &*at.rule;
        if !rule.covers_proxy(proxy_id) {
            return None;
        }
        let applies = rule.effect != Effect::Allow
            || rule.http.is_empty()
            || rule.http.iter().any(|http| matches(http, &mut lookup));
        applies.then_some(rule.effect)
    })
}

/// Merges, in order, the alternatives that ask for the request's path with the rules that may decide without.
fn judge_indexed<'a, H: Headers>(
    rules: &'a PortRules,
    paths: &'a PathIndex,
    mut hits: &[Alternative],
    candidates: Candidates<'a>,
    proxy_id: u16,
    remote: u32,
    lookup: &mut Lookup<'_, H>,
) -> Option<Decision<'a>> {
    let covers = |at: &PortRule| match candidates {
        Candidates::Mask(mask) => mask >> at.set & 1 != 0,
        Candidates::Listed(_) => at.rule.remotes.contains(remote),
    };
    let mut unindexed: &[u32] = match candidates {
        Candidates::Mask(_) => &paths.unindexed,
        Candidates::Listed(class) => &class.unindexed,
    };
    let mut next = 0;
    loop {
        let number = match (unindexed.first(), hits.first()) {
            (None, None) => return None,
            (Some(&a), Some(b)) => a.min(b.rule),
            (Some(&a), None) => a,
            (None, Some(b)) => b.rule,
        };
        let others: &[u32] = match unindexed.split_first() {
            Some((&first, rest)) if first == number => {
                unindexed = rest;
                paths.others(number)
            }
            _ => &[],
        };
        let own = hits.iter().take_while(|hit| hit.rule == number).count();
        let (own, rest) = hits.split_at(own);
        hits = rest;
        let at = &rules.rules[number as usize];
        let rule = &*at.rule;
        if (number as usize) < next || !rule.covers_proxy(proxy_id) || !covers(at) {
            continue;
        }
        match rule.effect {
            Effect::Pass(_) => next = at.pass_to,
            Effect::Deny => return Some((Effect::Deny, at)),
            Effect::Allow => {
                let mut fits = |http: u32| matches(&rule.http[http as usize], lookup);
                if rule.http.is_empty() || own.iter().any(|hit| fits(hit.http)) || others.iter().any(|&http| fits(http))
                {
                    return Some((Effect::Allow, at));
                }
            }
        }
    }
}

/// Judges a request where rules act on headers: all alternatives of all rules of the deciding precedence are evaluated,
/// so that all actions are taken.
pub(super) fn judge_with_actions<'a, H: Headers>(
    rules: &'a PortRules,
    proxy_id: u16,
    remote: u32,
    headers: &mut H,
    log: &mut HeaderLog,
    nearest: &mut Nearest<'a>,
) -> Option<Decision<'a>> {
    walk(rules, rules.remotes.find(remote), false, |at| {
        let rule = &*at.rule;
        if !rule.covers_proxy(proxy_id) {
            return None;
        }
        let applies = rule.effect != Effect::Allow || allows(at, headers, log, nearest);
        applies.then_some(rule.effect)
    })
}

fn allows<'a, H: Headers>(at: &'a PortRule, headers: &mut H, log: &mut HeaderLog, nearest: &mut Nearest<'a>) -> bool {
    let rule = &*at.rule;
    let mut allowed = rule.http.is_empty();
    for http in rule.http.iter() {
        if let Some(failed) = first_failing(http, headers) {
            nearest.consider(at, failed, || Miss::header(&http.headers[failed], headers));
            continue;
        }
        let mut passes = true;
        for action in &*http.actions {
            let outcome = action.apply(headers, log);
            if passes && !outcome.passes() {
                nearest.consider(at, http.headers.len() + 1, || Miss::Action { action, outcome });
                passes = false;
            }
        }
        allowed |= passes;
        if allowed && !rule.has_header_actions {
            break;
        }
    }
    allowed
}

/// Finds what kept the rules from allowing a request, when none did.
pub(super) fn diagnose<'a, H: Headers>(at: &'a PortRule, headers: &H, nearest: &mut Nearest<'a>) {
    let rule: &Rule = &at.rule;
    for http in rule.http.iter() {
        if let Some(failed) = first_failing(http, headers) {
            nearest.consider(at, failed, || Miss::header(&http.headers[failed], headers));
        }
    }
}

fn matches<H: Headers>(http: &HttpRule, lookup: &mut Lookup<'_, H>) -> bool {
    http.method.is_none_or(|method| lookup.method() == method) && http.tests().all(|test| lookup.matches(test))
}

fn first_failing<H: Headers>(http: &HttpRule, headers: &H) -> Option<usize> {
    let mut lookup = Lookup::new(headers);
    http.headers.iter().position(|matcher| !lookup.matches(matcher))
}
