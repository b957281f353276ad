//! The HTTP/1.1 upgrade that opens a websocket (RFC 6455, section 4).

mod head;
mod request;
mod response;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use head::Head;
pub(crate) use head::{Start, find_end};
pub(crate) use request::{build_request, check_request};
pub(crate) use response::{build_accepted, build_refused, check_response};

/// Bytes within which a handshake must end.
pub(crate) const LIMIT: usize = 4096;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `sec-websocket-accept` that answers a `sec-websocket-key`.
#[must_use]
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// A random UUID (RFC 9562, version 4), as the request's `x-request-id`.
#[must_use]
pub fn request_id() -> String {
    let id = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let text = format!("{id:032x}");
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

fn write_header(out: &mut String, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.push_str(part);
    }
}
