//! `MongoDB`'s wire protocol: the collections of each message, as Envoy's `mongo_proxy` writes them to dynamic metadata.
//!
//! Metadata is a list of operations per `database.collection`: Envoy's own (`query`, `insert`, `update`, `delete`) and the command's
//! name. Envoy's filter cannot read `OP_MSG`, which is all that current clients send; this parser can.

mod document;
mod message;
mod parser;
#[cfg(test)]
mod tests;

pub(crate) use parser::Mongo;

/// The parser's name, and the name of its metadata.
pub const NAME: &str = "envoy.filters.network.mongo_proxy";
