//! Connections whose rules name a parser that no listener runs: filters of Envoy report what they find as dynamic
//! metadata, and policy is asked again with everything that the client sends.
//!
//! Envoy hands a module no whole metadata, so policy is asked as if there were none: rules that want some do not match.

use cilium_accesslog::{EntryType, Queue};
use cilium_channel::State;
use cilium_policy::{Direction, Metadata};

use crate::log::PooledEntry;
use crate::metadata::Context;

/// A connection that is asked about again and again.
pub(crate) struct Inspection {
    pub(crate) parser: String,
    pub(crate) direction: Direction,
    pub(crate) port: u16,
    pub(crate) remote: u32,
    pub(crate) entry: PooledEntry,
}

impl Inspection {
    /// May the client's bytes pass?
    pub(crate) fn judge(&mut self, context: &Context<'_>, state: &State, log: Option<&Queue>) -> Result<(), String> {
        let changed = self.entry.update_from_metadata(&self.parser, std::iter::empty());
        let port = context.policy(state, context.pod).port(self.direction, self.port);
        let verdict = port.metadata(context.proxy_id, self.remote, &Metadata::default());
        let reason = (!verdict.allowed).then(|| verdict.reason.describe(context.pod).to_string());
        if let Some(queue) = log.filter(|_| changed || reason.is_some()) {
            self.entry.set_rule(reason.as_deref().or_else(|| verdict.reason.rule()).unwrap_or_default());
            queue.log(&mut self.entry, if reason.is_none() { EntryType::Request } else { EntryType::Denied });
        }
        reason.map_or(Ok(()), Err)
    }
}
