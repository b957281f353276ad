//! The outer fields of a resource, with its entries still serialised.

use cilium_proto::cilium::{NetworkPolicy, PortNetworkPolicy};
use prost::Message;

/// A resource, with its entries as messages.
pub(super) struct Outer {
    pub endpoint_ips: Vec<String>,
    pub endpoint_id: u64,
    pub ingress: Vec<PortNetworkPolicy>,
    pub egress: Vec<PortNetworkPolicy>,
}

impl Outer {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let message = NetworkPolicy::decode(bytes)?;
        Ok(Self {
            endpoint_ips: message.endpoint_ips,
            endpoint_id: message.endpoint_id,
            ingress: message.ingress_per_port_policies,
            egress: message.egress_per_port_policies,
        })
    }
}
