//! TCP in a websocket (RFC 6455), without I/O: bytes go in, bytes and events come out.
//!
//! `Codec` is the way in. It speaks for one side of one connection: the client wraps a stream towards the upstream, the
//! server unwraps it. Sockets, timers and logs belong to the filters in `crates/module`.

#![forbid(unsafe_code)]

mod codec;
mod config;
mod decoder;
mod encoder;
mod error;
mod frame;
mod handshake;

pub use codec::{Codec, Event, Output};
pub use config::{Config, ConfigError, Role};
pub use error::Error;
pub use handshake::{Head, accept_key, request_id};
