//! Regular expressions as policies mean them: RE2 syntax and semantics, the whole value must match.
//!
//! Expressions are parsed here, as RE2 parses them, and matched as bytes by `regex-automata`. What differs from RE2:
//! look-ups of Unicode categories and scripts use the tables of this crate's Unicode version; where alternatives hold
//! everything beyond ASCII only together, invalid UTF-8 is not let through as RE2 does (and where a rule asks for the
//! opposite of an expression, no invalid UTF-8 is); expressions longer than [`MAX_PATTERN`], nested deeper than
//! [`MAX_NESTING`] or compiled to more than [`MAX_PROGRAM`] are refused.

mod charset;
mod groups;
mod parse;
mod table;

#[cfg(test)]
mod tests;

use std::error::Error as _;

use crate::regex::table::Table;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored, Input, meta};
use regex_syntax::hir::{Hir, HirKind, Look};
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
    program: Program,
}

enum Program {
    /// The expression is a text.
    Literal(Box<[u8]>),
    /// Boxed: expressions are many.
    Table(Box<Table>),
    /// For those whose table would be large.
    General(meta::Regex),
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
        let compiled = |program| Self { pattern: pattern.into(), program };
        let literal = match body.kind() {
            HirKind::Literal(literal) => return Ok(compiled(Program::Literal(literal.0.clone()))),
            HirKind::Concat(parts) => parts.first().map(Hir::kind),
            _ => None,
        };
        let literal: Box<[u8]> = match literal {
            Some(HirKind::Literal(literal)) => literal.0.clone(),
            _ => Box::default(),
        };
        let whole = Hir::concat(vec![Hir::look(Look::Start), body, Hir::look(Look::End)]);
        if let Some(table) = Table::new(&whole, &literal) {
            return Ok(compiled(Program::Table(Box::new(table))));
        }
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
                // The general text is about a list of patterns; the cause is about this one.
                None => error.source().map_or_else(|| error.to_string(), ToString::to_string),
            })
        })?;
        Ok(compiled(Program::General(program)))
    }

    /// Whether the whole subject matches. The subject need not be UTF-8.
    #[must_use]
    pub fn is_match(&self, subject: &[u8]) -> bool {
        match &self.program {
            Program::Literal(text) => subject == &**text,
            Program::Table(table) => table.is_match(subject),
            Program::General(program) => program.is_match(Input::new(subject).anchored(Anchored::Yes)),
        }
    }

    /// The only text that matches, if the expression is that text.
    pub(crate) fn as_literal(&self) -> Option<&[u8]> {
        match &self.program {
            Program::Literal(text) => Some(text),
            Program::Table(_) | Program::General(_) => None,
        }
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
