//! `MySQL`'s client protocol: the tables of each statement, as Envoy's `mysql_proxy` writes them to dynamic metadata.
//!
//! Metadata is a list of operations per `table.database`; each statement is decided on alone. What cannot be read is denied:
//! statements that are not understood, compression, and TLS unless the policy allows `$tls: upgrade`.

mod packet;
mod parser;
mod sql;
#[cfg(test)]
mod tests;

pub(crate) use parser::Mysql;

/// The parser's name, and the name of its metadata.
pub const NAME: &str = "envoy.filters.network.mysql_proxy";
