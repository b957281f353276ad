//! What a parser asks a policy.

use std::any::Any;
use std::sync::Arc;

use cilium_policy::Metadata;

/// A message to decide on.
#[derive(Debug)]
pub enum Request<'a> {
    /// A line of the test protocol `test.headerparser`.
    Header(&'a [u8]),
    /// A command of r2d2.
    R2d2(&'a crate::r2d2::Command<'a>),
    /// A message as metadata, which the policy's metadata rules decide on.
    Metadata(&'a Metadata),
    /// A statement of Cassandra.
    Cassandra(&'a crate::cassandra::Statement),
    /// A request of Kafka.
    Kafka(&'a crate::kafka::Request),
    /// A request of memcache.
    Memcache(&'a crate::memcache::Request<'a>),
    /// A message of a parser from outside, which its own rules know.
    Custom(&'a dyn Any),
}

/// A policy's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Pass the message.
    pub allowed: bool,
    /// Name of the rule that decided, if it has one.
    pub rule: Option<Arc<str>>,
}

/// The policy of a connection. Asked for every message, so that a changed policy counts from the next message on.
pub trait Policy {
    /// Decides on one message.
    fn decide(&self, request: &Request<'_>) -> Decision;
}

impl Decision {
    /// Allowed, by no named rule.
    pub const ALLOWED: Self = Self { allowed: true, rule: None };
    /// Denied, by no named rule.
    pub const DENIED: Self = Self { allowed: false, rule: None };
}

impl<F: Fn(&Request<'_>) -> Decision> Policy for F {
    fn decide(&self, request: &Request<'_>) -> Decision {
        self(request)
    }
}
