//! `header_matches`: headers to compare, and what to do then.

use std::sync::Arc;

use crate::headers::{HeaderLog, Headers, View, kept_as};
use crate::secret::{SecretCell, same};

/// Compares one header with a value or a secret and acts on the result.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct HeaderAction {
    /// Lower case, as the policy has it.
    pub name: Box<str>,
    /// Used while the secret is not delivered; empty: presence is the match.
    pub value: Box<[u8]>,
    pub secret: Option<Arc<SecretCell>>,
    pub on_match: MatchAction,
    pub on_mismatch: MismatchAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MatchAction {
    Continue,
    Fail,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MismatchAction {
    Fail,
    Continue,
    Add,
    Delete,
    Replace,
}

/// What an action did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The header matched and stays.
    Matched,
    /// The header matched; the rule does not allow the request.
    MatchFailed,
    /// The header matched and was removed.
    MatchDeleted,
    /// The header did not match; the rule does not allow the request.
    MismatchFailed,
    /// The header did not match; only logged.
    MismatchIgnored,
    Added,
    MismatchDeleted,
    Replaced,
    /// No value to compare with: the secret was not delivered.
    SecretMissing,
}

impl Outcome {
    /// Whether the rule may still allow the request.
    pub(crate) fn passes(self) -> bool {
        !matches!(self, Self::MatchFailed | Self::MismatchFailed | Self::SecretMissing)
    }

    /// In words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matches",
            Self::MatchFailed => "matches, refused",
            Self::MatchDeleted => "matches, removed",
            Self::MismatchFailed => "does not match, refused",
            Self::MismatchIgnored => "does not match, ignored",
            Self::Added => "does not match, value added",
            Self::MismatchDeleted => "does not match, removed",
            Self::Replaced => "does not match, replaced",
            Self::SecretMissing => "the secret was not delivered, refused",
        }
    }
}

impl HeaderAction {
    pub(crate) fn apply<H: Headers>(&self, headers: &mut H, log: &mut HeaderLog) -> Outcome {
        let delivered = self.secret.as_ref().map(|cell| cell.load());
        let expected: &[u8] = match &delivered {
            Some(guard) => match guard.as_ref() {
                Some(value) => value,
                None if self.value.is_empty() => return Outcome::SecretMissing,
                None => &self.value,
            },
            None => &self.value,
        };
        let name = kept_as(&self.name);
        let actual = View::of(headers, name);
        let matched = match actual.get() {
            None => false,
            Some(_) if expected.is_empty() => true,
            Some(value) => same(value, expected),
        };
        if matched {
            return match self.on_match {
                MatchAction::Continue => Outcome::Matched,
                MatchAction::Fail => {
                    log.add_rejected(&self.name, self.shown(expected));
                    Outcome::MatchFailed
                }
                MatchAction::Delete => {
                    log.add_rejected(&self.name, self.shown(expected));
                    headers.remove(name);
                    Outcome::MatchDeleted
                }
            };
        }
        match self.on_mismatch {
            MismatchAction::Fail => {
                log.add_missing(&self.name, self.shown(expected));
                Outcome::MismatchFailed
            }
            MismatchAction::Continue => {
                log.add_missing(&self.name, self.shown(expected));
                Outcome::MismatchIgnored
            }
            MismatchAction::Add => {
                headers.add(name, expected);
                log.add_missing(&self.name, self.shown(expected));
                Outcome::Added
            }
            MismatchAction::Delete => {
                if let Some(value) = actual.get() {
                    log.add_rejected(&self.name, self.shown(value));
                    headers.remove(name);
                }
                Outcome::MismatchDeleted
            }
            MismatchAction::Replace => {
                if let Some(value) = actual.get() {
                    log.add_rejected(&self.name, self.shown(value));
                }
                headers.set(name, expected);
                log.add_missing(&self.name, self.shown(expected));
                Outcome::Replaced
            }
        }
    }

    /// What may be logged of a value: nothing, if it is compared with a secret.
    fn shown<'v>(&self, value: &'v [u8]) -> &'v [u8] {
        if self.secret.is_some() { b"[redacted]" } else { value }
    }
}
