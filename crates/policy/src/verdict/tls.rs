//! Which TLS context a connection gets.

use std::sync::Arc;

use crate::Direction;
use crate::model::{Effect, Rule, TlsContext};
use crate::reason::{Code, Reason};
use crate::update::Fallback;
use crate::verdict::PortPolicy;

/// The side of a connection this proxy plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSide {
    /// Towards the client: `downstream_tls_context`.
    Server,
    /// Towards the server: `upstream_tls_context`.
    Client,
}

/// How a connection may be carried.
#[derive(Debug, Clone)]
pub enum TlsVerdict<'a> {
    /// With TLS, by this context.
    Context(&'a Arc<TlsContext>),
    /// As it is.
    Raw,
    /// Not at all.
    Refused(Reason<'a>),
}

impl<'a> PortPolicy<'a> {
    /// The TLS context for one side of a connection. An allowed connection without a context is carried as it is.
    #[must_use]
    pub fn tls(&self, side: TlsSide, proxy_id: u16, remote: u32, sni: &str) -> TlsVerdict<'a> {
        match self.policy.fallback() {
            Some(Fallback::AllowEgress) if self.direction == Direction::Egress => return TlsVerdict::Raw,
            Some(_) => return self.refused(Code::NoPolicy),
            None => {}
        }
        let Some((_, rules)) = self.rules else { return self.refused(Code::NoPort) };
        if rules.rules.is_empty() {
            return TlsVerdict::Raw;
        }
        let mut allowed_at = None;
        let mut next = 0;
        while let Some(at) = rules.rules.get(next) {
            next += 1;
            let rule = &*at.rule;
            if !(rule.covers_sni(sni) && rule.covers(proxy_id, remote)) {
                continue;
            }
            match rule.effect {
                Effect::Pass(_) => {
                    if allowed_at.is_none() {
                        next = at.pass_to;
                    }
                }
                // An allow of higher precedence stands.
                Effect::Deny if allowed_at.is_some_and(|precedence| precedence > rule.precedence) => {
                    return TlsVerdict::Raw;
                }
                Effect::Deny => return self.refused_by(rule, at.origin),
                Effect::Allow => {
                    if let Some(context) = context(rule, side) {
                        return TlsVerdict::Context(context);
                    }
                    allowed_at = allowed_at.or(Some(rule.precedence));
                }
            }
        }
        if allowed_at.is_some() { TlsVerdict::Raw } else { self.refused(Code::NoMatch) }
    }

    fn refused(&self, code: Code) -> TlsVerdict<'a> {
        TlsVerdict::Refused(self.verdict(false, code, None).reason)
    }

    fn refused_by(&self, rule: &'a Rule, origin: crate::compile::Origin) -> TlsVerdict<'a> {
        TlsVerdict::Refused(self.verdict(false, Code::DeniedByRule, Some((rule, origin))).reason)
    }
}

fn context(rule: &Rule, side: TlsSide) -> Option<&Arc<TlsContext>> {
    match side {
        TlsSide::Server => rule.downstream_tls.as_ref(),
        TlsSide::Client => rule.upstream_tls.as_ref(),
    }
}
