//! The socket mark that tells the datapath where a connection of the proxy comes from.
//!
//! Bits: identity (low 16 bits) << 16, magic, identity bits 16 to 23. The magic is 0x0A00 for ingress, 0x0B00 for
//! egress, and 0x0900 with an endpoint id instead of an identity.

/// Mark with the identity of the source.
pub(crate) fn of_identity(ingress: bool, identity: u32) -> u32 {
    let magic = if ingress { 0x0A00 } else { 0x0B00 };
    magic | (identity >> 16 & 0xFF) | (identity & 0xFFFF) << 16
}

/// Mark with the local endpoint whose egress policy the datapath applies after the proxy.
pub(crate) fn of_endpoint(endpoint_id: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the mark has room for 16 bits, as endpoint ids have")]
    let id = endpoint_id as u32;
    0x0900 | id << 16
}
