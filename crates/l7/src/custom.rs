//! Protocols from outside of this crate: rules that only they can match.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// A protocol that this crate does not have.
pub trait Protocol: Debug + Send + Sync {
    /// Compiles one rule of a policy. The error says what is wrong with it; unknown keys are.
    fn compile(&self, fields: &BTreeMap<String, String>) -> Result<Box<dyn CustomRule>, String>;
}

/// A rule of such a protocol.
pub trait CustomRule: Debug + Send + Sync {
    /// Whether the rule fits a message; `None` when that cannot be told, which allows nothing.
    fn matches(&self, message: &dyn Any) -> Option<bool>;
}
