//! Verdicts on connections, requests and metadata.

mod http;
mod l7;
mod tls;
mod walk;

pub use l7::{L7Candidate, L7RuleSet};
pub use tls::{TlsSide, TlsVerdict};

use crate::Direction;
use crate::compile::{Origin, PortRules, Ports};
use crate::headers::{HeaderLog, Headers};
use crate::metadata::Metadata;
use crate::model::{Effect, Rule};
use crate::reason::{Code, Reason};
use crate::update::{EndpointPolicy, Fallback};

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
        self.judge(true, |rule| (rule.covers_sni(sni) && rule.covers(proxy_id, remote)).then_some(rule.effect))
    }

    /// The verdict on a request, to be asked after [`Self::network`] allowed its connection; allows if the port has no
    /// HTTP rules. May change `headers` and writes what it found to `log`, as the rules say.
    pub fn http<H: Headers>(&self, proxy_id: u16, remote: u32, headers: &mut H, log: &mut HeaderLog) -> Verdict<'a> {
        if self.policy.fallback().is_none() && !self.has_http_rules() {
            return self.verdict(true, Code::NoHttpRules, None);
        }
        let short_circuit = !self.rules.is_some_and(|(_, rules)| rules.has_header_actions);
        self.judge(short_circuit, |rule| {
            let covered = rule.covers(proxy_id, remote);
            (covered && (rule.effect != Effect::Allow || http::allows(rule, headers, log))).then_some(rule.effect)
        })
    }

    /// The parser for the connection's payload, if the rules name one.
    #[must_use]
    pub fn l7_parser(&self, proxy_id: u16, remote: u32) -> Option<&'a str> {
        let (_, rules) = self.rules?;
        let mut parser = None;
        let decided = walk::walk(&rules.rules, true, |at| {
            let rule = &*at.rule;
            if !rule.covers(proxy_id, remote) {
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
        self.judge(true, |rule| {
            if !rule.covers(proxy_id, remote) {
                return None;
            }
            l7::metadata_effect(rule, metadata)
        })
    }

    fn judge(&self, short_circuit: bool, mut effect_of: impl FnMut(&'a Rule) -> Option<Effect>) -> Verdict<'a> {
        match self.policy.fallback() {
            Some(Fallback::AllowEgress) if self.direction == Direction::Egress => {
                return self.verdict(true, Code::NoPolicyAllowed, None);
            }
            Some(_) => return self.verdict(false, Code::NoPolicy, None),
            None => {}
        }
        let Some((_, rules)) = self.rules else { return self.verdict(false, Code::NoPort, None) };
        if rules.rules.is_empty() {
            return self.verdict(true, Code::AllowedByPort, None);
        }
        let decided = walk::walk(&rules.rules, short_circuit, |at| effect_of(&at.rule));
        match decided {
            Some((Effect::Allow, at)) => self.verdict(true, Code::AllowedByRule, Some((&at.rule, at.origin))),
            Some((_, at)) => self.verdict(false, Code::DeniedByRule, Some((&at.rule, at.origin))),
            None => self.verdict(false, Code::NoMatch, None),
        }
    }

    fn verdict(&self, allowed: bool, code: Code, rule: Option<(&'a Rule, Origin)>) -> Verdict<'a> {
        let Self { policy, direction, port, .. } = *self;
        Verdict { allowed, reason: Reason { code, policy, direction, port, rule, detail: None } }
    }
}
