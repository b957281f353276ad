//! Tells the client that the upstream closes, where both connections have the same addresses and ports.
//!
//! Another request on the client's connection would need another upstream connection with those, which the server and
//! the kernel refuse for as long as they remember the one that ended. A client that connects anew has another port.

use cilium_abi::http::{Attribute, HeaderKind, Stream, StreamInfo};

/// Whether the client's connection is to end after this response, which says so of the upstream one.
pub(super) fn is_due(stream: &Stream<'_>) -> bool {
    let says = |name| stream.header(HeaderKind::Response, name).is_some_and(holds_close);
    (says("connection") || says("proxy-connection")) && same_ends(stream.info())
}

/// Whether a list of tokens has `close` among them, in any case.
fn holds_close(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Later versions of HTTP have connections that outlive those of their upstreams.
fn same_ends(info: StreamInfo<'_>) -> bool {
    let equal = |one, other| info.attribute(one).is_some_and(|text| info.attribute(other) == Some(text));
    info.attribute(Attribute::RequestProtocol).is_some_and(|protocol| protocol.starts_with("HTTP/1"))
        && equal(Attribute::SourceAddress, Attribute::UpstreamLocalAddress)
        && equal(Attribute::DestinationAddress, Attribute::UpstreamAddress)
}

#[cfg(test)]
mod tests {
    use super::holds_close;

    #[test]
    fn close_is_a_token_of_a_list() {
        for value in ["close", "Close", "keep-alive, close", "close ,x"] {
            assert!(holds_close(value.as_bytes()), "{value}");
        }
        for value in ["", "keep-alive", "closed", "x-close"] {
            assert!(!holds_close(value.as_bytes()), "{value}");
        }
    }
}
