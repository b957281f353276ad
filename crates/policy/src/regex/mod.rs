//! Regular expressions as policies mean them: RE2 syntax and semantics, the whole value must match.
//!
//! Expressions are parsed here, as RE2 parses them, and matched as bytes by `regex-automata`. What differs from RE2:
//! look-ups of Unicode categories and scripts use the tables of this crate's Unicode version; where alternatives hold
//! everything beyond ASCII only together, invalid UTF-8 is not let through as RE2 does; expressions longer than
//! [`MAX_PATTERN`], nested deeper than [`MAX_NESTING`] or compiled to more than [`MAX_PROGRAM`] are refused.

mod charset;
mod groups;
mod parse;

#[cfg(test)]
mod tests;

use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored, Input, meta};
use regex_syntax::hir::{Hir, Look};
use thiserror::Error;

/// Longest expression, in bytes.
pub const MAX_PATTERN: usize = 32 << 10;
/// Most groups inside each other.
pub const MAX_NESTING: usize = 200;
/// Largest program, in bytes. RE2 allows some 170,000 instructions; this is about as much.
pub const MAX_PROGRAM: usize = 8 << 20;

/// A compiled expression.
pub struct Regex {
    pattern: Box<str>,
    program: meta::Regex,
}

/// An expression that RE2 refuses, or that is too large.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid regex {pattern:?}: {problem}")]
pub struct RegexError {
    pattern: String,
    problem: String,
}

impl Regex {
    /// Compiles an expression.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let refuse = |problem: String| RegexError { pattern: excerpt(pattern), problem };
        if pattern.len() > MAX_PATTERN {
            return Err(refuse(format!("longer than {MAX_PATTERN} bytes")));
        }
        let body = parse::parse(pattern).map_err(refuse)?;
        let whole = Hir::concat(vec![Hir::look(Look::Start), body, Hir::look(Look::End)]);
        let config = meta::Config::new()
            .utf8_empty(false)
            .which_captures(WhichCaptures::Implicit)
            .nfa_size_limit(Some(MAX_PROGRAM))
            .onepass_size_limit(Some(64 << 10))
            .dfa_size_limit(Some(64 << 10))
            .hybrid_cache_capacity(512 << 10);
        let program = meta::Builder::new().configure(config).build_from_hir(&whole).map_err(|error| {
            refuse(match error.size_limit() {
                Some(limit) => format!("the program is larger than {limit} bytes"),
                None => error.to_string(),
            })
        })?;
        Ok(Self { pattern: pattern.into(), program })
    }

    /// Whether the whole subject matches. The subject need not be UTF-8.
    #[must_use]
    pub fn is_match(&self, subject: &[u8]) -> bool {
        self.program.is_match(Input::new(subject).anchored(Anchored::Yes))
    }

    /// The expression as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }
}

/// Expressions are equal if they are written alike.
impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Regex {}

impl std::hash::Hash for Regex {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.pattern.hash(state);
    }
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Regex({:?})", self.pattern)
    }
}

/// The beginning of an expression, for messages.
fn excerpt(pattern: &str) -> String {
    const MAX: usize = 200;
    match pattern.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}...", &pattern[..end]),
        None => pattern.to_owned(),
    }
}
