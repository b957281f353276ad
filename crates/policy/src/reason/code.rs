//! Kinds of reasons.

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
    /// Denied: a rule passed the decision on, and none below decided.
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
    /// Denied by a metadata rule that denies.
    MetadataDenied,
    /// Denied: the metadata fits no rule.
    Metadata,
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
        }
    }
}
