//! Verdicts on connections, requests and metadata.

mod http;
mod l7;
mod tls;
mod walk;

#[cfg(test)]
mod tests;

pub use l7::{L7Candidate, L7RuleSet};
pub use tls::{TlsSide, TlsVerdict};

use crate::Direction;
use crate::compile::{PortRule, PortRules, Ports};
use crate::headers::{HeaderLog, Headers};
use crate::metadata::Metadata;
use crate::model::Effect;
use crate::reason::{Code, Excerpt, Miss, Nearest, Reason};
use crate::update::{EndpointPolicy, Fallback};
use crate::verdict::walk::{Decision, walk};

/// Allowed or not, and why.
#[derive(Debug, Clone)]
pub struct Verdict<'a> {
    /// Whether the connection or request may go on.
    pub allowed: bool,
    /// The rule, or the missing piece, that decided.
    pub reason: Reason<'a>,
}

/// The rules of one port of an endpoint, in one direction.
#[derive(Debug, Clone, Copy)]
pub struct PortPolicy<'a> {
    policy: &'a EndpointPolicy,
    direction: Direction,
    port: u16,
    rules: Option<(Ports, &'a PortRules)>,
}

impl<'a> PortPolicy<'a> {
    pub(crate) fn new(policy: &'a EndpointPolicy, direction: Direction, port: u16) -> Self {
        Self { policy, direction, port, rules: policy.table(direction).find(port) }
    }

    /// Whether requests have to be judged. Without HTTP rules the verdict on the connection is enough.
    #[must_use]
    pub fn has_http_rules(&self) -> bool {
        self.rules.is_some_and(|(_, rules)| rules.has_http)
    }

    /// The verdict on a connection. `sni` is empty if the client sent none, or no TLS.
    #[must_use]
    pub fn network(&self, proxy_id: u16, remote: u32, sni: &str) -> Verdict<'a> {
        let rules = match self.applicable() {
            Ok(rules) => rules,
            Err(verdict) => return verdict,
        };
        let decided = walk(rules, rules.remotes.find(remote), true, |at| {
            (at.rule.covers_proxy(proxy_id) && at.rule.covers_sni(sni)).then_some(at.rule.effect)
        });
        self.decide(decided, || {
            Self::nearest(rules, proxy_id, remote, |at, nearest| {
                if !at.rule.covers_sni(sni) {
                    nearest.consider(at, 0, || Miss::ServerName(Excerpt::of(sni.as_bytes())));
                }
            })
        })
    }

    /// The verdict on a request, to be asked after [`Self::network`] allowed its connection; allows if the port has no
    /// HTTP rules. May change `headers` and writes what it found to `log`, as the rules say.
    pub fn http<H: Headers>(&self, proxy_id: u16, remote: u32, headers: &mut H, log: &mut HeaderLog) -> Verdict<'a> {
        if self.policy.fallback().is_none() && !self.has_http_rules() {
            return self.verdict(true, Code::NoHttpRules, None);
        }
        let rules = match self.applicable() {
            Ok(rules) => rules,
            Err(verdict) => return verdict,
        };
        if rules.has_header_actions {
            let mut nearest = Nearest::default();
            let decided = http::judge_with_actions(rules, proxy_id, remote, headers, log, &mut nearest);
            return self.decide(decided, || Self::add_uncovered(rules, proxy_id, remote, nearest));
        }
        let decided = http::judge(rules, proxy_id, remote, headers);
        self.decide(decided, || {
            Self::nearest(rules, proxy_id, remote, |at, nearest| http::diagnose(at, headers, nearest))
        })
    }

    /// The parser for the connection's payload, if the rules name one.
    #[must_use]
    pub fn l7_parser(&self, proxy_id: u16, remote: u32) -> Option<&'a str> {
        let (_, rules) = self.rules?;
        let mut parser = None;
        let decided = walk(rules, rules.remotes.find(remote), true, |at| {
            let rule = &*at.rule;
            if !rule.covers_proxy(proxy_id) {
                return None;
            }
            match rule.effect {
                // Allows without a parser decide nothing here.
                Effect::Allow if rule.l7_proto.is_empty() => None,
                Effect::Allow => {
                    parser = Some(&*rule.l7_proto);
                    Some(Effect::Allow)
                }
                effect => Some(effect),
            }
        });
        decided.filter(|(effect, _)| *effect == Effect::Allow).and(parser)
    }

    /// The verdict on dynamic metadata.
    #[must_use]
    pub fn metadata(&self, proxy_id: u16, remote: u32, metadata: &Metadata) -> Verdict<'a> {
        let rules = match self.applicable() {
            Ok(rules) => rules,
            Err(verdict) => return verdict,
        };
        let decided = walk(rules, rules.remotes.find(remote), true, |at| {
            if at.rule.covers_proxy(proxy_id) { l7::metadata_effect(&at.rule, metadata) } else { None }
        });
        let mut verdict = self.decide(decided, || {
            Self::nearest(rules, proxy_id, remote, |at, nearest| {
                if at.rule.effect == Effect::Allow {
                    nearest.consider(at, 0, || Miss::Metadata);
                }
            })
        });
        // An allow rule that denied did so by its metadata.
        if !verdict.allowed && decided.is_some_and(|(_, at)| at.rule.effect == Effect::Allow) {
            verdict.reason.code = Code::MetadataDenied;
        }
        verdict
    }

    /// The rules to ask, or the verdict if there are none to ask.
    fn applicable(&self) -> Result<&'a PortRules, Verdict<'a>> {
        match self.policy.fallback() {
            Some(Fallback::AllowEgress) if self.direction == Direction::Egress => {
                return Err(self.verdict(true, Code::NoPolicyAllowed, None));
            }
            Some(_) => return Err(self.verdict(false, Code::NoPolicy, None)),
            None => {}
        }
        match self.rules {
            None => Err(self.verdict(false, Code::NoPort, None)),
            Some((_, rules)) if rules.rules.is_empty() => Err(self.verdict(true, Code::AllowedByPort, None)),
            Some((_, rules)) => Ok(rules),
        }
    }

    fn decide(&self, decided: Option<Decision<'a>>, nearest: impl FnOnce() -> Nearest<'a>) -> Verdict<'a> {
        match decided {
            Some((Effect::Allow, at)) => self.verdict(true, Code::AllowedByRule, Some(at)),
            Some((_, at)) => self.verdict(false, Code::DeniedByRule, Some(at)),
            None => self.missed(nearest()),
        }
    }

    fn missed(&self, nearest: Nearest<'a>) -> Verdict<'a> {
        let Some((at, miss)) = nearest.into_best() else {
            let rule = self.rules.and_then(|(_, rules)| rules.rules.iter().find(|at| at.rule.is_pass()));
            return self.verdict(false, Code::Passed, rule);
        };
        let mut verdict = self.verdict(false, miss.code(), Some(at));
        verdict.reason.miss = Some(Box::new(miss));
        verdict
    }

    /// The rule that came nearest: `inspect` notes what is wrong with one that covers listener and remote.
    fn nearest(
        rules: &'a PortRules,
        proxy_id: u16,
        remote: u32,
        mut inspect: impl FnMut(&'a PortRule, &mut Nearest<'a>),
    ) -> Nearest<'a> {
        let mut nearest = Nearest::default();
        for at in rules.rules.iter().filter(|at| at.rule.covers_proxy(proxy_id) && at.rule.remotes.contains(remote)) {
            inspect(at, &mut nearest);
        }
        Self::add_uncovered(rules, proxy_id, remote, nearest)
    }

    /// Adds the allow rules that do not cover listener or remote, which are near only if nothing is nearer.
    fn add_uncovered(rules: &'a PortRules, proxy_id: u16, remote: u32, mut nearest: Nearest<'a>) -> Nearest<'a> {
        for at in rules.rules.iter().filter(|at| at.rule.effect == Effect::Allow) {
            if !at.rule.covers_proxy(proxy_id) {
                nearest.consider(at, 0, || Miss::ProxyId(proxy_id));
            } else if !at.rule.remotes.contains(remote) {
                nearest.consider(at, 0, || Miss::Remote(remote));
            }
        }
        nearest
    }

    fn verdict(&self, allowed: bool, code: Code, rule: Option<&'a PortRule>) -> Verdict<'a> {
        let Self { policy, direction, port, .. } = *self;
        Verdict { allowed, reason: Reason { code, direction, port, policy, rule, miss: None } }
    }
}
