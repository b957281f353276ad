//! Reasons in words.

use std::fmt::{self, Display, Formatter};

use crate::compile::PortRule;
use crate::headers::action::Outcome;
use crate::reason::{Code, Miss, Reason, position};

/// A reason as a sentence.
#[derive(Debug, Clone, Copy)]
pub struct Sentence<'r> {
    pub(super) reason: &'r Reason<'r>,
    pub(super) endpoint: Option<&'r str>,
}

impl Display for Sentence<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Reason { code, direction, port, policy, rule, miss } = self.reason;
        if let (Some(at), Some(miss)) = (rule, miss) {
            let rule = Name { reason: self.reason, at };
            write_miss(f, *port, &rule, at, miss)?;
            let count = policy.table(*direction).find(*port).map_or(0, |(_, rules)| rules.rules.len());
            if count > 1 {
                write!(f, " (the nearest of {count} rules)")?;
            }
            return Ok(());
        }
        let rule = rule.map(|at| Name { reason: self.reason, at });
        match (code, rule) {
            (Code::NoPolicy | Code::NoPolicyAllowed, _) => {
                match self.endpoint {
                    Some(endpoint) => write!(f, "no policy for endpoint {endpoint}")?,
                    None => f.write_str("no policy for the endpoint")?,
                }
                if *code == Code::NoPolicyAllowed {
                    f.write_str(", which allows egress")?;
                }
                Ok(())
            }
            (Code::NoPort, _) => {
                let resource = policy.resource();
                write!(f, "port {port}: the policy {resource:?} has no {direction} rules for it")
            }
            (Code::AllowedByPort, _) => write!(f, "port {port}: allowed for every remote"),
            (Code::NoHttpRules, _) => write!(f, "port {port}: no HTTP rules"),
            (Code::AllowedByRule, Some(rule)) => write!(f, "port {port}: allowed by {rule}"),
            (Code::DeniedByRule, Some(rule)) => write!(f, "port {port}: denied by {rule}"),
            (Code::MetadataDenied, Some(rule)) => write!(f, "port {port}: the metadata is denied by {rule}"),
            (Code::Passed, Some(rule)) => {
                write!(f, "port {port}: {rule} passes the decision on, and no rule below its tier decides")
            }
            _ => write!(f, "port {port}: no rule applies"),
        }
    }
}

fn write_miss(f: &mut Formatter<'_>, port: u16, rule: &Name<'_>, at: &PortRule, miss: &Miss<'_>) -> fmt::Result {
    match miss {
        Miss::ProxyId(proxy_id) => {
            write!(f, "port {port}: {rule} is for the listener with proxy id {}, not {proxy_id}", at.rule.proxy_id)
        }
        Miss::Remote(remote) => write!(f, "port {port}: identity {remote} is not among the remotes of {rule}"),
        Miss::ServerName(name) => {
            let name = name.to_string();
            if name.is_empty() {
                write!(f, "port {port}: {rule} wants a server name, and the client sent none")
            } else {
                write!(f, "port {port}: server name {name:?} is not among those of {rule}")
            }
        }
        Miss::Header { matcher, value, unjudged } => {
            write!(f, "{rule}: ")?;
            let value = value.as_ref().map(ToString::to_string);
            matcher.write_failure(f, value.as_deref(), *unjudged)
        }
        Miss::Action { action, outcome } => {
            let name = &*action.name;
            write!(f, "{rule}: ")?;
            match (outcome, &action.secret) {
                (Outcome::SecretMissing, Some(cell)) => {
                    write!(f, "header {name:?} is compared with the secret {:?}, which was not delivered", cell.name())
                }
                (Outcome::MatchFailed, _) => write!(f, "header {name:?} has the value that the rule refuses"),
                _ => write!(f, "header {name:?} does not have the value that the rule asks for"),
            }
        }
        Miss::Metadata => write!(f, "{rule}: no metadata rule matches"),
    }
}

/// A rule by its name or, if it has none, by its position in the resource.
struct Name<'r> {
    reason: &'r Reason<'r>,
    at: &'r PortRule,
}

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = &*self.at.rule.name;
        match position(self.reason.direction, self.at.origin) {
            Some(position) if name.is_empty() => write!(f, "rule {position} of {:?}", self.reason.policy.resource()),
            Some(_) => write!(f, "rule {name:?}"),
            None => write!(f, "the {name}"),
        }
    }
}
