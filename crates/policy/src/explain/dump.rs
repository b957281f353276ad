//! Rules per port range, split and merged, in evaluation order. Field names are those of the reference's own dump.

use crate::Direction;
use crate::compile::{PortRules, Ports};
use crate::headers::action::{HeaderAction, MatchAction, MismatchAction};
use crate::headers::matcher::{HeaderMatcher, HeaderTest, TextTest};
use crate::model::{Effect, HttpRule, MetadataRule, Rule};
use crate::update::EndpointPolicy;

/// The rules of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Dump {
    /// Port 0, every port, comes first.
    pub ingress: Vec<DumpedRange>,
    /// As `ingress`.
    pub egress: Vec<DumpedRange>,
}

/// The rules of a range of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DumpedRange {
    /// First port.
    pub port: u16,
    /// Last port.
    pub end_port: u16,
    /// In evaluation order.
    pub rules: Vec<DumpedRule>,
    /// False if rules act on headers, so that an allow does not end the evaluation.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Clone::clone"))]
    pub can_short_circuit: bool,
}

/// A rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DumpedRule {
    /// Ascending; empty: any.
    pub remotes: Vec<u32>,
    /// `None`: unnamed.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub name: Option<String>,
    /// The rule denies.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub deny: bool,
    /// `None`: zero.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub precedence: Option<u32>,
    /// Lowest precedence of the tier a pass rule skips.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub tier_last_precedence: Option<u32>,
    /// `None`: every listener.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub proxy_id: Option<u16>,
    /// Patterns in lower case.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub allowed_snis: Vec<String>,
    /// Alternatives.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub http_rules: Vec<DumpedHttp>,
    /// `None`: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub l7_proto: Option<String>,
    /// Metadata rules that allow.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub l7_allow_rules: Vec<DumpedNamed>,
    /// Metadata rules that deny.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub l7_deny_rules: Vec<DumpedNamed>,
}

/// Something of which only the name is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DumpedNamed {
    /// Empty: unnamed.
    pub name: String,
}

/// An HTTP rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DumpedHttp {
    /// All must hold.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub headers: Vec<DumpedHeader>,
    /// Comparisons with actions.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub header_matches: Vec<DumpedAction>,
}

/// A header test: one of the optional fields says which. Regular expressions and string matchers are hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[expect(missing_docs, reason = "named after the tests")]
pub struct DumpedHeader {
    pub name: String,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub value: Option<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub regex: Option<&'static str>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub range: Option<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub present: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub prefix: Option<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub suffix: Option<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub contains: Option<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub string_match: Option<&'static str>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub invert_match: bool,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub treat_missing_as_empty: bool,
}

/// A header comparison with actions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DumpedAction {
    /// Name of the header.
    pub name: String,
    /// Value given in the policy.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub value: Option<String>,
    /// Name of the secret.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub secret: Option<String>,
    /// `CONTINUE`, `FAIL` or `DELETE`.
    pub match_action: &'static str,
    /// `FAIL`, `CONTINUE`, `ADD`, `DELETE` or `REPLACE`.
    pub mismatch_action: &'static str,
}

const HIDDEN: &str = "<hidden>";

impl EndpointPolicy {
    /// The rules as they are evaluated.
    #[must_use]
    pub fn dump(&self) -> Dump {
        Dump { ingress: self.dump_direction(Direction::Ingress), egress: self.dump_direction(Direction::Egress) }
    }

    fn dump_direction(&self, direction: Direction) -> Vec<DumpedRange> {
        let table = self.table(direction);
        let wildcard = table.wildcard.as_deref().map(|rules| range(Ports { first: 0, last: 0 }, rules));
        wildcard.into_iter().chain(table.ranges.iter().map(|(ports, rules)| range(*ports, rules))).collect()
    }
}

fn range(ports: Ports, rules: &PortRules) -> DumpedRange {
    DumpedRange {
        port: ports.first,
        end_port: ports.last,
        rules: rules.rules.iter().map(|at| rule(&at.rule)).collect(),
        can_short_circuit: !rules.has_header_actions,
    }
}

fn rule(rule: &Rule) -> DumpedRule {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let metadata = rule.l7.metadata();
    let named = |rules: &[MetadataRule]| rules.iter().map(|rule| DumpedNamed { name: rule.name.to_string() }).collect();
    DumpedRule {
        remotes: rule.remotes.as_slice().to_vec(),
        name: given(&rule.name),
        deny: rule.effect == Effect::Deny,
        precedence: Some(rule.precedence).filter(|precedence| *precedence != 0),
        tier_last_precedence: rule.pass_precedence(),
        proxy_id: Some(rule.proxy_id).filter(|id| *id != 0),
        allowed_snis: rule.server_names.iter().map(|name| name.as_str().to_owned()).collect(),
        http_rules: rule.http.iter().map(http).collect(),
        l7_proto: given(&rule.l7_proto),
        l7_allow_rules: metadata.map_or_else(Vec::new, |rules| named(&rules.allow)),
        l7_deny_rules: metadata.map_or_else(Vec::new, |rules| named(&rules.deny)),
    }
}

fn http(rule: &HttpRule) -> DumpedHttp {
    DumpedHttp {
        headers: rule.headers.iter().map(header).collect(),
        header_matches: rule.actions.iter().map(action).collect(),
    }
}

fn header(matcher: &HeaderMatcher) -> DumpedHeader {
    let mut dumped = DumpedHeader {
        name: matcher.name.to_string(),
        invert_match: matcher.invert,
        treat_missing_as_empty: matcher.missing_as_empty,
        ..DumpedHeader::default()
    };
    match &matcher.test {
        HeaderTest::Range { start, end } => dumped.range = Some(format!("[{start}-{end})")),
        HeaderTest::Present(present) => dumped.present = Some(*present),
        HeaderTest::Text(_) if matcher.by_string_match => dumped.string_match = Some(HIDDEN),
        HeaderTest::Exact(value) | HeaderTest::Text(TextTest::Exact { value, .. }) => dumped.value = Some(text(value)),
        HeaderTest::Text(TextTest::Regex(_)) => dumped.regex = Some(HIDDEN),
        HeaderTest::Text(TextTest::Prefix { value, .. }) => dumped.prefix = Some(text(value)),
        HeaderTest::Text(TextTest::Suffix { value, .. }) => dumped.suffix = Some(text(value)),
        HeaderTest::Text(TextTest::Contains { value, .. }) => dumped.contains = Some(text(value)),
    }
    dumped
}

fn action(action: &HeaderAction) -> DumpedAction {
    DumpedAction {
        name: action.name.to_string(),
        value: Some(text(&action.value)).filter(|value| !value.is_empty()),
        secret: action.secret.as_ref().map(|cell| cell.name().to_owned()),
        match_action: match action.on_match {
            MatchAction::Continue => "CONTINUE",
            MatchAction::Fail => "FAIL",
            MatchAction::Delete => "DELETE",
        },
        mismatch_action: match action.on_mismatch {
            MismatchAction::Fail => "FAIL",
            MismatchAction::Continue => "CONTINUE",
            MismatchAction::Add => "ADD",
            MismatchAction::Delete => "DELETE",
            MismatchAction::Replace => "REPLACE",
        },
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
