//! From rules to tables: which rules hold for a port and a remote, in which order.

mod candidates;
mod paths;
mod ports;
mod rules;

#[cfg(test)]
mod tests;

pub(crate) use candidates::{Candidates, RemoteIndex};
pub(crate) use paths::{Alternative, PathIndex};
pub(crate) use ports::{Entry, MAX_MERGED_RULES, PortTable, Ports};
pub(crate) use rules::{Origin, PortRule, PortRules};
