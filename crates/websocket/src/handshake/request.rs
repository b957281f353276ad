//! The request: what a client sends and what a server accepts.

use std::net::SocketAddr;

use crate::config::Config;
use crate::handshake::{Head, Start, write_header};

/// The request text and its head for the log.
///
/// `destination` is where the stream was going; the server connects there. Header names and their order are the
/// reference's.
pub(crate) fn build_request(config: &Config, key: &str, destination: SocketAddr, request_id: &str) -> (Vec<u8>, Head) {
    let mut headers = vec![
        ("host", config.host.clone()),
        ("upgrade", "websocket".to_owned()),
        ("connection", "upgrade".to_owned()),
        ("sec-websocket-key", key.to_owned()),
        ("sec-websocket-version", config.version.clone()),
    ];
    if !config.origin.is_empty() {
        headers.push(("origin", config.origin.clone()));
    }
    headers.push(("x-envoy-original-dst-host", destination.to_string()));
    headers.push(("x-request-id", request_id.to_owned()));

    let mut text = format!("GET {} HTTP/1.1\r\n", config.path);
    for (name, value) in &headers {
        write_header(&mut text, name, value);
    }
    text.push_str("content-length: 0\r\n\r\n");
    let start = Start::Request { method: "GET".to_owned(), path: config.path.clone() };
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    (text.into_bytes(), Head::new(start, headers))
}

/// The destination that a valid request names; `None` when the request is not what the configuration demands.
pub(crate) fn check_request(config: &Config, head: &Head) -> Option<SocketAddr> {
    let Start::Request { method, path } = &head.start else { return None };
    let value = |name: &str| head.get(name).unwrap_or_default();
    let valid = method == "GET"
        && head.has_token("connection", "upgrade")
        && head.has_token("upgrade", "websocket")
        && expected(&config.path, &path.to_ascii_lowercase())
        && expected(&config.host, &value("host").to_ascii_lowercase())
        && expected(&config.key, &value("sec-websocket-key"))
        && expected(&config.version, &value("sec-websocket-version").to_ascii_lowercase())
        && origin_allowed(&config.origin, head.get("origin"))
        && head.get("sec-websocket-protocol").is_none()
        && head.get("sec-websocket-extensions").is_none();
    if valid { head.get("x-envoy-original-dst-host")?.parse().ok() } else { None }
}

/// A configured value must be met; without one anything but nothing will do.
fn expected(configured: &str, got: &str) -> bool {
    if configured.is_empty() { !got.is_empty() } else { configured == got }
}

fn origin_allowed(configured: &str, got: Option<String>) -> bool {
    match got {
        None => configured.is_empty(),
        Some(origin) => !configured.is_empty() && origin.to_ascii_lowercase() == configured,
    }
}
