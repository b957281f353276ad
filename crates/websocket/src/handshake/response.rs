//! The response: what a server sends and what a client accepts.

use crate::error::Error;
use crate::handshake::{Head, Start, accept_key, write_header};

/// The 101 that answers a request with this key.
pub(crate) fn build_accepted(key: &str, request_id: Option<&str>) -> (Vec<u8>, Head) {
    let headers = vec![
        ("connection", "upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("sec-websocket-accept", accept_key(key)),
    ];
    build("101 Switching Protocols", 101, headers, request_id)
}

/// The 403 that answers any other request.
pub(crate) fn build_refused(request_id: Option<&str>) -> (Vec<u8>, Head) {
    build("403 Forbidden", 403, Vec::new(), request_id)
}

/// Checks the answer to a request that carried this key.
pub(crate) fn check_response(head: &Head, key: &str) -> Result<(), Error> {
    if !head.http_1_1 {
        return Err(Error::HandshakeInvalidHttpVersion);
    }
    if head.start != (Start::Response { status: 101 }) {
        return Err(Error::HandshakeInvalidHttpStatus);
    }
    let valid = head.has_token("connection", "upgrade")
        && head.has_token("upgrade", "websocket")
        && head.get("sec-websocket-accept").is_some_and(|accept| accept == accept_key(key));
    if valid { Ok(()) } else { Err(Error::HandshakeInvalidWebsocketResponse) }
}

fn build(line: &str, status: u16, headers: Vec<(&str, String)>, request_id: Option<&str>) -> (Vec<u8>, Head) {
    let mut text = format!("HTTP/1.1 {line}\r\n");
    let request_id = request_id.map(|id| ("x-request-id", id.to_owned()));
    let headers: Vec<(&str, String)> = headers.into_iter().chain(request_id).collect();
    for (name, value) in &headers {
        write_header(&mut text, name, value);
    }
    text.push_str("content-length: 0\r\n\r\n");
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    (text.into_bytes(), Head::new(Start::Response { status }, headers))
}
