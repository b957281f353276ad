//! Cassandra's native protocol, versions 3 to 5, with compression and the segments of version 5.
//!
//! Statements are matched by action and table when they are run, prepared ones by what was prepared under their id on the same
//! connection; an unknown id is answered with `UNPREPARED`, on which drivers prepare again. Other versions are answered with the
//! protocol error on which drivers try a lower one.

mod compress;
mod cql;
mod envelope;
mod parser;
mod request;
mod rules;
mod segment;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use parser::Cassandra;
pub(crate) use rules::StatementRule;

/// The parser's name.
pub const NAME: &str = "cassandra";

/// A statement, or a request without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// Such as `select` or `create-table`; empty for requests without statement.
    pub action: String,
    /// `keyspace.table`, or a keyspace; empty if the action has none.
    pub table: String,
    /// `TRUNCATE` without `TABLE`, which the reference writes to the access log in a way of its own.
    pub(crate) bare_truncate: bool,
    /// The server looks the table up in the keyspace that is current when it runs the statement.
    pub(crate) in_current_keyspace: bool,
}
