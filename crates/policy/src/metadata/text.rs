//! Metadata and its tests in words.

use std::fmt::{self, Display, Formatter};

use crate::metadata::Value;
use crate::metadata::matcher::{MetadataMatcher, ValueTest};

/// As JSON.
impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Struct(fields) => {
                f.write_str("{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name:?}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl Display for MetadataMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.filter)?;
        for key in &self.path {
            write!(f, ".{key}")?;
        }
        write!(f, "{} {}", if self.invert { " not" } else { "" }, self.value)
    }
}

impl Display for ValueTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Range { start, end } => write!(f, "range [{start}, {end})"),
            Self::Number(value) => write!(f, "exact {value}"),
            Self::Text(test) => test.fmt(f),
            Self::Bool(value) => write!(f, "exact {value}"),
            Self::Present(present) => write!(f, "present {present}"),
            Self::AnyOf(test) => write!(f, "any element {test}"),
            Self::Or(tests) => {
                for (index, test) in tests.iter().enumerate() {
                    write!(f, "{}{test}", if index == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
        }
    }
}
