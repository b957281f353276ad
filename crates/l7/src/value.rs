//! A protocol's messages as data.

use std::collections::BTreeMap;

/// A value as in `google.protobuf.Value`, as far as parsers make them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    String(String),
    /// A list.
    List(Vec<Self>),
    /// Named values.
    Struct(BTreeMap<String, Self>),
}

impl Value {
    /// The value under a name, if this is a struct with it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Struct(fields) = self else { return None };
        fields.get(name)
    }

    /// Names, each with a list of texts: the form of Envoy's database filters.
    #[must_use]
    pub fn lists(names: BTreeMap<String, Vec<String>>) -> Self {
        Self::Struct(
            names
                .into_iter()
                .map(|(name, texts)| (name, Self::List(texts.into_iter().map(Self::String).collect())))
                .collect(),
        )
    }
}
