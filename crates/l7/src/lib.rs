//! Parsers of L7 protocols, without I/O: bytes in, operations out.
//!
//! A [`Parser`] sees the bytes of one connection and says what becomes of them ([`Op`]). [`Connection`] drives it for a proxy,
//! [`Instance`] drives many for tests and tools. [`PortRules`] asks
//! the policy engine for each message. Nothing here knows Envoy or sockets.

pub mod cassandra;
mod connection;
mod custom;
mod info;
mod inject;
mod instance;
pub mod kafka;
pub mod memcache;
mod metadata;
pub mod mongo;
pub mod mysql;
mod op;
mod params;
mod parser;
mod pipeline;
mod policy;
pub mod r2d2;
mod record;
mod registry;
mod request;
pub mod rules;
pub mod test_parsers;
#[cfg(test)]
mod testing;

pub use connection::{Closed, Connection, Forward, Limits, Site};
pub use custom::{CustomRule, Protocol};
pub use info::{ConnectionInfo, InvalidAddressError};
pub use inject::InjectBuffer;
pub use instance::{FilterResult, Instance, NewConnection, StepError, StepOps};
pub use op::{ErrorCode, Op};
pub use params::{Params, UnknownParamError};
pub use parser::{Context, Parser, Seed, panic_message};
pub use policy::{Asker, PortRules};
pub use record::{EntryType, KafkaEntry, L7, Log, Record};
pub use registry::{CreateError, PARSERS, Shared, create};
pub use request::{Decision, Policy, Request};
pub use rules::{CompiledRules, RuleSet, RulesError, compile_custom, compile_rules};
