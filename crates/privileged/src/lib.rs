//! What Envoy, which runs without capabilities, may not do itself, and how it is done for it.
//!
//! Here: the service that keeps privileges and its client, the BPF maps read through it, capability inspection and the
//! launcher's confinement, and the private socket option that `crates/sockets` implements. Not here: anything of
//! Envoy's ABI, and any policy. `unsafe` lives in [`sys`] alone.
#![deny(unsafe_code)]

pub mod capability;
pub mod client;
mod connection;
pub mod conntrack;
pub mod ipcache;
pub mod keeper;
pub mod launch;
pub mod local_destination;
pub mod map;
mod opener;
pub mod pinned;
pub mod private_option;
pub mod root;
pub mod service;
#[allow(unsafe_code)]
pub mod sys;
pub mod wire;

pub use capability::{Capabilities, Feature, Missing};
pub use client::{Client, SERVICE_FD_VARIABLE};
pub use conntrack::Conntrack;
pub use ipcache::IpCache;
pub use map::{Layout, Map, MapError};
pub use private_option::SourceAddresses;
pub use root::{BpfRoot, BpfRootError};
