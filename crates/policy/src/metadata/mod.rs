//! Dynamic metadata as the engine sees it, and `envoy.type.matcher.v3.MetadataMatcher`.

pub(crate) mod matcher;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// Dynamic metadata of a connection or request: a tree per filter name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(pub BTreeMap<String, Value>);

/// A value as in `google.protobuf.Value`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    String(String),
    /// A list.
    List(Vec<Self>),
    /// Named values. A filter's metadata is one of these.
    Struct(BTreeMap<String, Self>),
}

impl Metadata {
    /// The value at the path below a filter's metadata.
    pub(crate) fn get(&self, filter: &str, path: &[Box<str>]) -> Option<&Value> {
        let mut value = self.0.get(filter)?;
        for key in path {
            let Value::Struct(fields) = value else { return None };
            value = fields.get(&**key)?;
        }
        Some(value)
    }
}
