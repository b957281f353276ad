//! Protocols from outside of this crate: their parsers, and rules that only they can match.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::info::ConnectionInfo;
use crate::parser::Parser;

/// A protocol that this crate does not have.
pub trait Protocol: Send + Sync {
    /// Compiles one rule of a policy. The error says what is wrong with it; unknown keys are.
    fn compile(&self, fields: &BTreeMap<String, String>) -> Result<Box<dyn CustomRule>, String>;

    /// Makes the parser of a new connection, or says why there is none.
    fn parser(&self, info: &ConnectionInfo) -> Result<Box<dyn Parser>, String>;
}

/// A rule of such a protocol.
pub trait CustomRule: Debug + Send + Sync {
    /// Whether the rule fits a message; `None` when that cannot be told, which allows nothing.
    fn matches(&self, message: &dyn Any) -> Option<bool>;
}
