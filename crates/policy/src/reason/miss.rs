//! What kept a rule from applying.

use std::fmt;

use crate::compile::PortRule;
use crate::headers::action::{HeaderAction, Outcome};
use crate::headers::matcher::HeaderMatcher;
use crate::headers::{Headers, View};
use crate::reason::Code;

/// The first test of a rule that failed.
#[derive(Debug, Clone)]
pub(crate) enum Miss<'a> {
    ProxyId(u16),
    Remote(u32),
    ServerName(Excerpt),
    Header { matcher: &'a HeaderMatcher, value: Option<Excerpt>, unjudged: bool },
    Action { action: &'a HeaderAction, outcome: Outcome },
    Metadata,
}

/// The rule that came nearest to deciding, so far. Of equally near ones, the first.
#[derive(Debug, Default)]
pub(crate) struct Nearest<'a> {
    best: Option<(usize, &'a PortRule, Miss<'a>)>,
}

/// A failed test, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What was tested: `proxy_id`, `remote`, `server_name`, `metadata`, or the name of a header.
    pub subject: String,
    /// What the rule asks for.
    pub expected: String,
    /// What there was; `None` if nothing, or nothing that may be shown.
    pub actual: Option<String>,
}

/// The beginning of a value, stored without allocation.
#[derive(Clone, Copy)]
pub(crate) struct Excerpt {
    bytes: [u8; Excerpt::MAX],
    len: u8,
    cut: bool,
}

impl Excerpt {
    const MAX: usize = 120;

    pub(crate) fn of(value: &[u8]) -> Self {
        let len = value.len().min(Self::MAX);
        let mut bytes = [0; Self::MAX];
        bytes[..len].copy_from_slice(&value[..len]);
        Self { bytes, len: u8::try_from(len).unwrap_or(0), cut: value.len() > len }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes[..usize::from(self.len)]);
        f.write_str(&text)?;
        if self.cut { f.write_str("...") } else { Ok(()) }
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl<'a> Miss<'a> {
    /// A header that does not fit. Only values of pseudo headers are kept: others may be credentials.
    pub(crate) fn header<H: Headers>(matcher: &'a HeaderMatcher, headers: &H) -> Self {
        let view = View::of(headers, &matcher.name);
        let unjudged = matcher.invert && view.get().is_some_and(|value| !matcher.can_judge(value));
        let value = view.get().map(|value| Excerpt::of(if matcher.is_pseudo() { value } else { b"[hidden]" }));
        Self::Header { matcher, value, unjudged }
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::ProxyId(_) => Code::ProxyId,
            Self::Remote(_) => Code::Remote,
            Self::ServerName(_) => Code::ServerName,
            Self::Header { .. } => Code::Header,
            Self::Action { outcome: Outcome::SecretMissing, .. } => Code::SecretMissing,
            Self::Action { .. } => Code::HeaderAction,
            Self::Metadata => Code::Metadata,
        }
    }

    /// How far evaluation of a rule got before this test: the kind of test first.
    fn rank(&self) -> usize {
        match self {
            Self::ProxyId(_) => 0,
            Self::Remote(_) => 1,
            Self::ServerName(_) => 2,
            Self::Header { .. } | Self::Action { .. } | Self::Metadata => 3,
        }
    }

    pub(crate) fn failed(&self, rule: Option<&PortRule>) -> Failed {
        let rule = rule.map(|at| &*at.rule);
        let (subject, expected, actual) = match self {
            Self::ProxyId(actual) => {
                let expected = rule.map_or_else(String::new, |rule| rule.proxy_id.to_string());
                ("proxy_id", expected, Some(actual.to_string()))
            }
            Self::Remote(actual) => ("remote", "one of the rule's remotes".to_owned(), Some(actual.to_string())),
            Self::ServerName(actual) => {
                let names = rule.map_or(&[][..], |rule| &rule.server_names);
                let names: Vec<_> = names.iter().map(|name| format!("{:?}", name.as_str())).collect();
                ("server_name", format!("one of {}", names.join(", ")), Some(actual.to_string()))
            }
            Self::Header { matcher, value, .. } => {
                (&*matcher.name, matcher.to_string(), value.as_ref().map(ToString::to_string))
            }
            Self::Action { action, .. } => (&*action.name, action.to_string(), None),
            Self::Metadata => ("metadata", "one of the rule's metadata rules".to_owned(), None),
        };
        Failed { subject: subject.to_owned(), expected, actual }
    }
}

impl<'a> Nearest<'a> {
    /// Notes that a rule failed a test after `passed` tests of the same kind.
    pub(crate) fn consider(&mut self, at: &'a PortRule, passed: usize, miss: impl FnOnce() -> Miss<'a>) {
        const KIND: usize = 1 << 32;
        let best = self.best.as_ref().map(|(rank, ..)| *rank);
        // Tests of headers and metadata are the last kind: cheap to compare before the miss is made.
        if best.is_some_and(|best| best >= 3 * KIND + passed) {
            return;
        }
        let miss = miss();
        let rank = miss.rank() * KIND + passed;
        if best.is_none_or(|best| rank > best) {
            self.best = Some((rank, at, miss));
        }
    }

    pub(crate) fn into_best(self) -> Option<(&'a PortRule, Miss<'a>)> {
        self.best.map(|(_, at, miss)| (at, miss))
    }
}
