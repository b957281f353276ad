//! The metadata of a connection as JSON, for the log.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::metadata::{Flow, Metadata, UpstreamSocket};

/// One line with everything that was found out about a connection.
pub(crate) fn describe(flow: Flow, metadata: &Metadata, upstream: &UpstreamSocket, protocols: &[String]) -> Value {
    let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
    json!({
        "source": flow.source.to_string(),
        "destination": flow.destination.to_string(),
        "ingress": metadata.ingress,
        "is_l7lb": metadata.l7lb,
        "proxy_id": metadata.proxy_id,
        "port": metadata.port,
        "source_identity": metadata.source_identity,
        "ingress_source_identity": metadata.ingress_source_identity,
        "pod_ip": metadata.pod,
        "ingress_policy_name": metadata.ingress_policy,
        "l7_parser": metadata.parser,
        "application_protocols": protocols,
        "mark": metadata.mark,
        "original_source_address": text(metadata.original_source),
        "ipv4_source_address": text(metadata.source_ipv4),
        "ipv6_source_address": text(metadata.source_ipv6),
        "upstream": {
            "mark": upstream.mark,
            "ipv4": text(upstream.source.ipv4.map(SocketAddr::V4)),
            "ipv6": text(upstream.source.ipv6.map(SocketAddr::V6)),
            "on_connect": upstream.on_connect,
            "linger": upstream.linger,
        },
    })
}
