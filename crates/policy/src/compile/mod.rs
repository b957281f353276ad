//! From rules to tables: which rules hold for a port, in which order.

mod ports;
mod rules;

pub(crate) use ports::{Entry, PortTable, Ports};
pub(crate) use rules::{Origin, PortRule, PortRules};
