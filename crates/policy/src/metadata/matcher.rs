//! Tests on metadata values.

use crate::headers::matcher::TextTest;
use crate::metadata::{Metadata, Value};

/// A test on the value at a path of a filter's metadata.
#[derive(Debug)]
pub(crate) struct MetadataMatcher {
    pub filter: Box<str>,
    pub path: Box<[Box<str>]>,
    pub value: ValueTest,
    pub invert: bool,
}

#[derive(Debug)]
pub(crate) enum ValueTest {
    Null,
    /// Half open, `[start, end)`.
    Range {
        start: f64,
        end: f64,
    },
    Number(f64),
    Text(TextTest),
    Bool(bool),
    /// True: any value that is there. False: never matches.
    Present(bool),
    /// A list with an element that matches.
    AnyOf(Box<ValueTest>),
    Or(Box<[ValueTest]>),
}

impl MetadataMatcher {
    pub(crate) fn matches(&self, metadata: &Metadata) -> bool {
        self.value.matches(metadata.get(&self.filter, &self.path)) != self.invert
    }
}

impl ValueTest {
    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Or(tests), value) => tests.iter().any(|test| test.matches(value)),
            (Self::Null, Some(Value::Null)) => true,
            (Self::Range { start, end }, Some(Value::Number(n))) => *start <= *n && *n < *end,
            #[expect(clippy::float_cmp, reason = "the matcher asks for this very number")]
            (Self::Number(expected), Some(Value::Number(n))) => expected == n,
            (Self::Text(test), Some(Value::String(value))) => test.matches(value.as_bytes()),
            (Self::Bool(expected), Some(Value::Bool(b))) => expected == b,
            (Self::Present(present), Some(_)) => *present,
            (Self::AnyOf(test), Some(Value::List(values))) => values.iter().any(|value| test.matches(Some(value))),
            _ => false,
        }
    }
}
