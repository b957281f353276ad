//! Which TLS context a connection gets.

use std::sync::Arc;

use crate::model::{Effect, Rule, TlsContext};
use crate::reason::{Code, Reason};
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
        let rules = match self.applicable() {
            Ok(rules) => rules,
            Err(verdict) if verdict.allowed => return TlsVerdict::Raw,
            Err(verdict) => return TlsVerdict::Refused(verdict.reason),
        };
        let mut allowed_at = None;
        let mut next = 0;
        while let Some(at) = rules.rules.get(next) {
            next += 1;
            let rule = &*at.rule;
            if !(rule.covers_proxy(proxy_id) && rule.covers_sni(sni) && rule.remotes.contains(remote)) {
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
                Effect::Deny => {
                    return TlsVerdict::Refused(self.verdict(false, Code::DeniedByRule, Some(at)).reason);
                }
                Effect::Allow => {
                    if let Some(context) = context(rule, side) {
                        return TlsVerdict::Context(context);
                    }
                    allowed_at = allowed_at.or(Some(rule.precedence));
                }
            }
        }
        // Nothing allows the connection, whatever its transport.
        if allowed_at.is_some() {
            TlsVerdict::Raw
        } else {
            TlsVerdict::Refused(self.network(proxy_id, remote, sni).reason)
        }
    }
}

fn context(rule: &Rule, side: TlsSide) -> Option<&Arc<TlsContext>> {
    match side {
        TlsSide::Server => rule.downstream_tls.as_ref(),
        TlsSide::Client => rule.upstream_tls.as_ref(),
    }
}
