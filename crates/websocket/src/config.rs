//! What both sides are configured with: `cilium.WebSocketClient` and `cilium.WebSocketServer`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cilium_proto::cilium::{WebSocketClient, WebSocketServer};
use thiserror::Error;

const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Up to this part of the ping interval is added at random, lest connections ping in step.
const PING_JITTER: f64 = 0.15;

/// Which side of the websocket this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends the handshake, masks its frames.
    Client,
    /// Answers the handshake.
    Server,
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// `ping_when_idle` alone does nothing.
    #[error("cilium.network.websocket: ping_when_idle requires ping_interval to be set.")]
    PingWithoutInterval,
    /// A client must say which host it wants.
    #[error("cilium.network.websocket.client: host must be non-empty.")]
    HostMissing,
}

/// Validated configuration; empty strings mean "not configured" on the server side.
#[derive(Debug, Clone)]
pub struct Config {
    /// Side of the websocket.
    pub role: Role,
    /// `host` header, lower case.
    pub host: String,
    /// Request path, lower case.
    pub path: String,
    /// `sec-websocket-key` as it stands in the header, base64 included; empty: random (client), any (server).
    pub key: String,
    /// `sec-websocket-version`, lower case.
    pub version: String,
    /// `origin` header, lower case.
    pub origin: String,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// Time between pings; zero: none.
    pub ping_interval: Duration,
    /// Data in either direction puts the next ping off.
    pub ping_when_idle: bool,
}

impl Config {
    /// The client's configuration with its defaults: path `/`, version `13`.
    pub fn client(message: &WebSocketClient) -> Result<Self, ConfigError> {
        if message.host.is_empty() {
            return Err(ConfigError::HostMissing);
        }
        let or = |value: &str, default: &str| if value.is_empty() { default.to_owned() } else { lower(value) };
        Ok(Self {
            role: Role::Client,
            host: lower(&message.host),
            path: or(&message.path, "/"),
            key: encoded_key(&message.key),
            version: or(&message.version, "13"),
            origin: lower(&message.origin),
            handshake_timeout: timeout(message.handshake_timeout.as_ref()),
            ping_interval: interval(message.ping_interval.as_ref(), message.ping_when_idle)?,
            ping_when_idle: message.ping_when_idle,
        })
    }

    /// The server's configuration.
    pub fn server(message: &WebSocketServer) -> Result<Self, ConfigError> {
        Ok(Self {
            role: Role::Server,
            host: lower(&message.host),
            path: lower(&message.path),
            key: encoded_key(&message.key),
            version: lower(&message.version),
            origin: lower(&message.origin),
            handshake_timeout: timeout(message.handshake_timeout.as_ref()),
            ping_interval: interval(message.ping_interval.as_ref(), message.ping_when_idle)?,
            ping_when_idle: message.ping_when_idle,
        })
    }

    /// Time from a ping to the next one.
    #[must_use]
    pub fn next_ping(&self) -> Duration {
        self.ping_interval.mul_f64(1.0 + PING_JITTER * rand::random::<f64>())
    }
}

fn lower(value: &str) -> String {
    value.to_ascii_lowercase()
}

fn encoded_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { STANDARD.encode(key) }
}

/// Whole milliseconds, as timers count; negative durations count as none.
fn milliseconds(duration: Option<&prost_types::Duration>) -> u64 {
    let Some(duration) = duration else { return 0 };
    let milliseconds = i128::from(duration.seconds) * 1_000 + i128::from(duration.nanos) / 1_000_000;
    u64::try_from(milliseconds).unwrap_or(0)
}

fn timeout(duration: Option<&prost_types::Duration>) -> Duration {
    match milliseconds(duration) {
        0 => DEFAULT_HANDSHAKE_TIMEOUT,
        configured => Duration::from_millis(configured),
    }
}

fn interval(duration: Option<&prost_types::Duration>, when_idle: bool) -> Result<Duration, ConfigError> {
    match milliseconds(duration) {
        0 if when_idle => Err(ConfigError::PingWithoutInterval),
        configured => Ok(Duration::from_millis(configured)),
    }
}
