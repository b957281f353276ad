//! Why a verdict was given: data first, a sentence on demand.

use std::fmt;

use crate::Direction;
use crate::compile::Origin;
use crate::model::Rule;
use crate::update::EndpointPolicy;

/// The kind of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Allowed by a rule.
    AllowedByRule,
    /// Allowed: the port has an entry without rules.
    AllowedByPort,
    /// Allowed: the port has no HTTP rules; the connection was judged before.
    NoHttpRules,
    /// Allowed: there is no policy for the endpoint, and egress is allowed then.
    NoPolicyAllowed,
    /// Denied: there is no policy for the endpoint.
    NoPolicy,
    /// Denied: the policy has no entry for the port.
    NoPort,
    /// Denied by a rule that denies.
    DeniedByRule,
    /// Denied: rules passed the decision on, and none below decided.
    Passed,
    /// Denied: the listener's proxy id fits no rule.
    ProxyId,
    /// Denied: the remote fits no rule.
    Remote,
    /// Denied: the server name fits no rule.
    ServerName,
    /// Denied: the request's headers fit no rule.
    Header,
    /// Denied: a header comparison with an action failed.
    HeaderAction,
    /// Denied: a secret to compare with was not delivered.
    SecretMissing,
    /// Denied by a metadata rule.
    MetadataDenied,
    /// Denied: the metadata fits no rule.
    Metadata,
    /// Denied: the rules that fit want TLS, and none has a context.
    NoMatch,
}

impl Code {
    /// A token that stays the same across releases.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllowedByRule => "allowed_by_rule",
            Self::AllowedByPort => "allowed_by_port",
            Self::NoHttpRules => "no_http_rules",
            Self::NoPolicyAllowed => "no_policy_allowed",
            Self::NoPolicy => "no_policy",
            Self::NoPort => "no_port",
            Self::DeniedByRule => "denied_by_rule",
            Self::Passed => "passed",
            Self::ProxyId => "proxy_id_mismatch",
            Self::Remote => "remote_mismatch",
            Self::ServerName => "server_name_mismatch",
            Self::Header => "header_mismatch",
            Self::HeaderAction => "header_action_failed",
            Self::SecretMissing => "secret_missing",
            Self::MetadataDenied => "metadata_denied",
            Self::Metadata => "metadata_mismatch",
            Self::NoMatch => "no_match",
        }
    }
}

/// Why a verdict was given. Displays as one sentence.
#[derive(Debug, Clone)]
pub struct Reason<'a> {
    pub(crate) code: Code,
    pub(crate) policy: &'a EndpointPolicy,
    pub(crate) direction: Direction,
    pub(crate) port: u16,
    pub(crate) rule: Option<(&'a Rule, Origin)>,
    pub(crate) detail: Option<Box<str>>,
}

impl<'a> Reason<'a> {
    /// A token for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// The kind of the reason.
    #[must_use]
    pub fn kind(&self) -> Code {
        self.code
    }

    /// The name of the rule that decided or, when none did, of the one that came nearest. `None`: no such rule, or it
    /// has no name.
    #[must_use]
    pub fn rule(&self) -> Option<&'a str> {
        self.rule.map(|(rule, _)| &*rule.name).filter(|name| !name.is_empty())
    }

    /// The resource the policy came from; `None` without a policy.
    #[must_use]
    pub fn resource(&self) -> Option<&'a str> {
        Some(self.policy.resource()).filter(|resource| !resource.is_empty())
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}: {}", self.port, self.code())?;
        if let Some(rule) = self.rule() {
            write!(f, ", rule {rule:?}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}
