//! Who talks to whom, and under which policy: what `cilium.bpf_metadata` finds out. No Envoy in here.

mod config;
mod context;
mod describe;
mod extract;
mod mark;
mod upstream;

pub(crate) use config::{Config, LocalEndpoint};
pub(crate) use context::Context;
pub(crate) use describe::describe;
pub(crate) use extract::{Flow, Identities, Metadata, extract};
pub(crate) use upstream::UpstreamSocket;

/// Identity of addresses nobody else claims.
pub(crate) const WORLD: u32 = 2;
