//! Why a connection ends, and the counter that says so.

use thiserror::Error;

/// The peer broke the protocol; the connection is closed without flushing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// No handshake within the configured time.
    #[error("websocket handshake timed out")]
    HandshakeTimeout,
    /// The handshake does not end within 4,096 bytes.
    #[error("websocket handshake is too long")]
    HandshakeTooLarge,
    /// The first bytes are no HTTP request (server) or response (client).
    #[error("websocket handshake is not HTTP")]
    HandshakeNotHttp,
    /// HTTP that does not parse.
    #[error("websocket handshake does not parse as HTTP")]
    HandshakeParseError,
    /// Not HTTP/1.1.
    #[error("websocket handshake is not HTTP/1.1")]
    HandshakeInvalidHttpVersion,
    /// Client: the response has another status than 101.
    #[error("websocket handshake was not answered with 101")]
    HandshakeInvalidHttpStatus,
    /// Client: `connection`, `upgrade` or `sec-websocket-accept` is wrong.
    #[error("websocket handshake response is invalid")]
    HandshakeInvalidWebsocketResponse,
    /// Server: the request is not the one configured; it was answered with 403.
    #[error("websocket handshake request is invalid")]
    HandshakeInvalidWebsocketRequest,
    /// The stream ended in the middle of the handshake. Within a frame it does not end the connection, but is counted.
    #[error("websocket stream ended early")]
    UnexpectedEnd,
    /// A frame with reserved bits or an unknown opcode, or a control frame that is fragmented or too long.
    #[error("websocket frame is invalid")]
    InvalidFrame,
}

impl Error {
    /// All that [`Error::counter`] names.
    pub const COUNTERS: [&str; 9] = [
        "handshake_timeout",
        "handshake_too_large",
        "handshake_not_http",
        "handshake_parse_error",
        "handshake_invalid_http_version",
        "handshake_invalid_http_status",
        "handshake_invalid_websocket_request",
        "handshake_invalid_websocket_response",
        "protocol_error",
    ];

    /// Name of the counter below the `websocket.` prefix; the reference's names.
    #[must_use]
    pub fn counter(self) -> &'static str {
        match self {
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeTooLarge => "handshake_too_large",
            Self::HandshakeNotHttp => "handshake_not_http",
            Self::HandshakeParseError => "handshake_parse_error",
            Self::HandshakeInvalidHttpVersion => "handshake_invalid_http_version",
            Self::HandshakeInvalidHttpStatus => "handshake_invalid_http_status",
            Self::HandshakeInvalidWebsocketResponse => "handshake_invalid_websocket_response",
            Self::HandshakeInvalidWebsocketRequest => "handshake_invalid_websocket_request",
            Self::UnexpectedEnd | Self::InvalidFrame => "protocol_error",
        }
    }
}
