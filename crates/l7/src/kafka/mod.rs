//! Kafka, every API and version that the `kafka-protocol` crate knows.
//!
//! A denied request is answered with the error of its API and version, after the replies to the requests before it. A request for
//! metadata is cut to the topics that are allowed, and the others are added to the reply with an authorization error: a client needs
//! the brokers to make anything of it. A server is made out to know no newer versions than can be read here. Topic ids (newer Fetch
//! and Produce) are resolved by the metadata replies that passed.

mod api;
mod decode;
mod parser;
mod reply;
mod rules;
mod sessions;
#[cfg(test)]
mod tests;
mod topics;
mod versions;

pub use api::{API_KEYS, role_api_keys};
pub(crate) use parser::Kafka;
pub(crate) use rules::decide;
pub use rules::matches;
pub(crate) use sessions::TopicIds;

/// The parser's name.
pub const NAME: &str = "kafka";

/// What a rule looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Number of the API.
    pub api_key: i16,
    /// Its version.
    pub api_version: i16,
    /// Empty if there is none.
    pub client_id: String,
    /// In the order of the request, each once.
    pub topics: Vec<String>,
    /// It is about topics that it does not name, so that rules for single topics do not allow it.
    pub any_topic: bool,
    /// It asks for a producer id outside of transactions, which Kafka grants to whoever may produce (KIP-679).
    pub idempotence: bool,
}
