//! The access log entry of a request.

use cilium_abi::http::{Attribute, StreamInfo};
use cilium_accesslog::{Connection as Ends, HttpProtocol};

use crate::log::{self, PooledEntry};
use crate::metadata::Context;

/// The entry of a request whose headers are not known yet.
pub(super) fn begin(
    info: StreamInfo<'_>,
    context: &Context<'_>,
    destination_identity: u32,
    destination: &str,
) -> PooledEntry {
    let protocol = match info.attribute(Attribute::RequestProtocol) {
        Some("HTTP/1.0") => HttpProtocol::Http10,
        Some("HTTP/2") => HttpProtocol::Http2,
        _ => HttpProtocol::Http11,
    };
    let mut entry = PooledEntry::new();
    let ends = Ends {
        policy_name: context.pod,
        proxy_id: context.proxy_id,
        ingress: context.ingress,
        source_identity: context.source_identity,
        source_address: info.attribute(Attribute::SourceAddress).unwrap_or_default(),
        destination_identity,
        destination_address: destination,
    };
    entry.init_from_request(&ends, log::now(), protocol, std::iter::empty());
    entry
}
