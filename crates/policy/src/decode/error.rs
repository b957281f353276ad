//! What is wrong, and in which field.

use std::fmt;

use prost::DecodeError;

/// A problem with a field of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// From the resource to the field, for example `ingress_per_port_policies[0].rules[2].proxy_id`.
    pub path: String,
    pub problem: String,
}

impl FieldError {
    pub(crate) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { path: field.to_owned(), problem: problem.into() }
    }

    /// The same problem seen from the message that holds `field`.
    pub(crate) fn within(mut self, field: impl fmt::Display) -> Self {
        self.path = if self.path.is_empty() { field.to_string() } else { format!("{field}.{}", self.path) };
        self
    }
}

/// The message as a whole.
impl From<DecodeError> for FieldError {
    fn from(error: DecodeError) -> Self {
        Self::new("", error.to_string())
    }
}

/// Names the field a result is about.
pub(crate) trait At<T> {
    fn at(self, field: &str) -> Result<T, FieldError>;
    fn at_index(self, field: &str, index: usize) -> Result<T, FieldError>;
}

impl<T> At<T> for Result<T, FieldError> {
    fn at(self, field: &str) -> Result<T, FieldError> {
        self.map_err(|error| error.within(field))
    }

    fn at_index(self, field: &str, index: usize) -> Result<T, FieldError> {
        self.map_err(|error| error.within(format_args!("{field}[{index}]")))
    }
}
