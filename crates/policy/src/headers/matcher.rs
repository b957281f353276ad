//! `envoy.config.route.v3.HeaderMatcher`: tests on one header.

use std::sync::Arc;

use crate::regex::Regex;

/// One header test.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct HeaderMatcher {
    /// Lower case, as Envoy keeps it.
    pub name: Box<str>,
    pub slot: Slot,
    pub test: HeaderTest,
    /// The test was given as `string_match`.
    pub by_string_match: bool,
    pub invert: bool,
    pub missing_as_empty: bool,
}

/// Which header a matcher reads. The ones that most rules read are looked up once per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Path,
    Method,
    Authority,
    Other,
}

impl Slot {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            ":path" => Self::Path,
            ":method" => Self::Method,
            ":authority" => Self::Authority,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum HeaderTest {
    /// `exact_match`; an empty value accepts every value.
    Exact(Box<[u8]>),
    /// Half open, `[start, end)`.
    Range {
        start: i64,
        end: i64,
    },
    Present(bool),
    Text(TextTest),
}

/// A test on text, shared by header and metadata matchers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum TextTest {
    Exact { value: Box<[u8]>, ignore_case: bool },
    Prefix { value: Box<[u8]>, ignore_case: bool },
    Suffix { value: Box<[u8]>, ignore_case: bool },
    Contains { value: Box<[u8]>, ignore_case: bool },
    Regex(Arc<Regex>),
}

impl HeaderMatcher {
    /// What the test costs, roughly: comparing, then finding the header, then running an expression. Paths tell
    /// requests apart better than methods do.
    pub(crate) fn cost(&self) -> (bool, bool, bool) {
        let is_regex = matches!(&self.test, HeaderTest::Text(TextTest::Regex(regex)) if regex.as_literal().is_none());
        (is_regex, self.slot == Slot::Other, self.slot != Slot::Path)
    }

    /// Tests the header's value; `None` if the request lacks the header.
    pub(crate) fn matches(&self, value: Option<&[u8]>) -> bool {
        let value = match value {
            Some(value) => value,
            None if self.missing_as_empty => b"",
            // A missing header passes presence tests only, `invert` or not.
            None => return matches!(self.test, HeaderTest::Present(present) if present == self.invert),
        };
        let matched = match &self.test {
            HeaderTest::Exact(expected) => expected.is_empty() || value == &**expected,
            HeaderTest::Range { start, end } => parse_int(value).is_some_and(|n| *start <= n && n < *end),
            HeaderTest::Present(present) => *present,
            HeaderTest::Text(test) => test.matches(value),
        };
        if self.invert { !matched && self.can_judge(value) } else { matched }
    }

    /// Whether a failed test says anything: expressions match UTF-8 alone, so that the opposite of one would let through
    /// whatever has a stray byte.
    pub(crate) fn can_judge(&self, value: &[u8]) -> bool {
        !matches!(self.test, HeaderTest::Text(TextTest::Regex(_))) || std::str::from_utf8(value).is_ok()
    }
}

impl TextTest {
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact { value, ignore_case: false } => text == &**value,
            Self::Exact { value, ignore_case: true } => text.eq_ignore_ascii_case(value),
            Self::Prefix { value, ignore_case } => {
                text.get(..value.len()).is_some_and(|start| same(start, value, *ignore_case))
            }
            Self::Suffix { value, ignore_case } => {
                text.len() >= value.len() && same(&text[text.len() - value.len()..], value, *ignore_case)
            }
            Self::Contains { value, ignore_case: false } => memchr::memmem::find(text, value).is_some(),
            Self::Contains { value, ignore_case: true } => {
                value.is_empty() || text.windows(value.len()).any(|part| part.eq_ignore_ascii_case(value))
            }
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

fn same(a: &[u8], b: &[u8], ignore_case: bool) -> bool {
    if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b }
}

/// A decimal number as Envoy reads it: white space around it and a sign are accepted, overflow is not.
fn parse_int(text: &[u8]) -> Option<i64> {
    let is_space = |b: &u8| b.is_ascii_whitespace() || *b == 0x0b;
    let start = text.iter().position(|b| !is_space(b))?;
    let end = text.iter().rposition(|b| !is_space(b))? + 1;
    std::str::from_utf8(&text[start..end]).ok()?.parse().ok()
}
