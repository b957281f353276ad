//! The policy engine: what may pass, and why.
//!
//! Serialised `cilium.NetworkPolicy` and `cilium.NetworkPolicyHosts` resources go in ([`PolicyMap`], [`hosts::HostMap`]),
//! immutable snapshots come out, and every verdict names the rule, or the missing piece, that decided it.
//! No I/O, no clocks, no threads: owners deliver bytes and secrets, workers read snapshots.

#![forbid(unsafe_code)]

mod compile;
mod decode;
pub mod explain;
#[cfg(test)]
mod fixture;
pub mod headers;
pub mod hosts;
mod metadata;
mod model;
mod reason;
pub mod regex;
mod secret;
mod sni;
mod update;
mod verdict;

pub use explain::{Question, Trace};
pub use headers::{HeaderList, HeaderLog, Headers};
pub use metadata::{Metadata, Value};
pub use model::{GenericRule, KafkaRule, TlsContext};
pub use reason::{Code, Failed, Reason, Sentence};
pub use sni::SniPattern;
pub use update::limits;
pub use update::{EndpointPolicy, PolicyMap, Rejected, Snapshot, Update, UpdateKind};
pub use verdict::{L7Candidate, L7RuleSet, PortPolicy, TlsSide, TlsVerdict, Verdict};

/// Which way a connection goes, seen from the endpoint whose policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Towards the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl Direction {
    /// `ingress` or `egress`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
