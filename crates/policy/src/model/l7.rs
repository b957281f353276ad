//! Rules for protocols other than HTTP.

use std::collections::BTreeMap;

use crate::metadata::matcher::MetadataMatcher;

/// The `l7` part of a rule, other than HTTP.
#[derive(Debug)]
pub(crate) enum L7Rules {
    None,
    Kafka(Box<[KafkaRule]>),
    Generic(Box<GenericRules>),
}

/// `L7NetworkPolicyRules`, as given and as far as Envoy's metadata decides.
#[derive(Debug)]
pub(crate) struct GenericRules {
    pub allow: Box<[GenericRule]>,
    pub deny: Box<[GenericRule]>,
    /// Empty unless the rule names a parser.
    pub metadata: MetadataRules,
}

/// A `KafkaNetworkPolicyRule`: all set fields must fit a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaRule {
    /// Negative: any version.
    pub api_version: i32,
    /// Empty: any key.
    pub api_keys: Vec<i32>,
    /// Empty: any client.
    pub client_id: String,
    /// Empty: any topic.
    pub topic: String,
}

/// An `L7NetworkPolicyRule`, for parsers that read its key-value pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenericRule {
    /// Empty: unnamed.
    pub name: String,
    /// What the parser of the protocol makes of it; empty: every request.
    pub fields: BTreeMap<String, String>,
    /// Whether the rule has matchers of metadata as well, which no parser of payload can check.
    pub has_metadata: bool,
}

/// The metadata side of generic rules.
#[derive(Debug, Default)]
pub(crate) struct MetadataRules {
    pub allow: Box<[MetadataRule]>,
    pub deny: Box<[MetadataRule]>,
}

/// All matchers must hold.
#[derive(Debug)]
pub(crate) struct MetadataRule {
    pub name: Box<str>,
    pub matchers: Box<[MetadataMatcher]>,
}

impl L7Rules {
    pub(crate) fn metadata(&self) -> Option<&MetadataRules> {
        match self {
            Self::Generic(rules) => Some(&rules.metadata),
            Self::None | Self::Kafka(_) => None,
        }
    }
}
