//! Protobuf messages: the Cilium API (`api/cilium`), the policy channel (`api/cilium_proxy`) and the few Envoy messages
//! they hold. Generated code only; nothing here decides anything.

#![forbid(unsafe_code)]
#![allow(missing_docs, unused_qualifications, unreachable_pub, clippy::pedantic, reason = "generated code")]

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

/// Serialised `FileDescriptorSet` of the files below `api/`, without the Envoy files they import.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
