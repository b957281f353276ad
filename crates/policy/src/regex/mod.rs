//! Regular expressions as policies mean them: RE2 syntax, the whole value must match.

use regex_automata::meta;
use regex_automata::util::syntax;
use thiserror::Error;

/// A compiled expression.
pub struct Regex {
    pattern: Box<str>,
    program: meta::Regex,
}

/// An expression that is not RE2, or too large.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid regex {pattern:?}: {problem}")]
pub struct RegexError {
    pattern: String,
    problem: String,
}

impl Regex {
    /// Compiles an expression.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let anchored = format!(r"\A(?:{pattern})\z");
        let program = meta::Regex::builder()
            .syntax(syntax::Config::new().utf8(false))
            .configure(meta::Regex::config().utf8_empty(false).nfa_size_limit(Some(10 << 20)))
            .build(&anchored)
            .map_err(|error| RegexError { pattern: pattern.to_owned(), problem: error.to_string() })?;
        Ok(Self { pattern: pattern.into(), program })
    }

    /// Whether the whole subject matches.
    #[must_use]
    pub fn is_match(&self, subject: &[u8]) -> bool {
        self.program.is_match(subject)
    }

    /// The expression as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Regex({:?})", self.pattern)
    }
}
