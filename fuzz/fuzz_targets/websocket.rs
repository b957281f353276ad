//! Any bytes from the other side of a websocket, in any pieces: the same stream as from one piece, within bounds.
//!
//! The first byte says which side this is and whether the handshake is done; the second one how long the pieces are.
#![no_main]

use std::sync::Arc;

use cilium_proto::cilium::{WebSocketClient, WebSocketServer};
use cilium_websocket::{Codec, Config, Event, Output, accept_key};
use libfuzzer_sys::fuzz_target;

const CLIENT: u8 = 1;
const OPEN: u8 = 2;
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn client() -> Codec {
    let message = WebSocketClient { host: "host".to_owned(), key: "the sample nonce".to_owned(), ..Default::default() };
    Codec::new(Arc::new(Config::client(&message).expect("a valid configuration")))
}

fn server() -> Codec {
    Codec::new(Arc::new(Config::server(&WebSocketServer::default()).expect("a valid configuration")))
}

fn handshake(flags: u8) -> Vec<u8> {
    if flags & OPEN == 0 {
        return Vec::new();
    }
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    if flags & CLIENT == 0 {
        format!(
            "GET / HTTP/1.1\r\nhost: host\r\n{upgrade}sec-websocket-key: {KEY}\r\nsec-websocket-version: 13\r\n\
             x-envoy-original-dst-host: 127.0.0.1:80\r\n\r\n"
        )
    } else {
        format!("HTTP/1.1 101 OK\r\n{upgrade}sec-websocket-accept: {}\r\n\r\n", accept_key(KEY))
    }
    .into_bytes()
}

/// Everything that came out. The masks of a client's frames are random, so of those only the length counts.
fn outcome(flags: u8, data: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, usize, bool, Vec<Event>) {
    let mut codec = if flags & CLIENT == 0 { server() } else { client() };
    let mut all = Output::default();
    let mut feed = |data: &[u8], end: bool| {
        let mut out = Output::default();
        codec.decode(std::iter::once(data), end, &mut out);
        all.encoded.extend(out.encoded);
        all.decoded.extend(out.decoded);
        all.decoded_end |= out.decoded_end;
        all.events.extend(out.events);
    };
    feed(&handshake(flags), false);
    for part in data.chunks(piece) {
        feed(part, false);
    }
    feed(&[], true);
    assert!(codec.accepted() || flags & OPEN == 0 || all.events.iter().any(|event| matches!(event, Event::Failed(_))));
    assert!(all.decoded.len() <= data.len());
    let encoded = if flags & CLIENT == 0 { all.encoded.clone() } else { Vec::new() };
    (all.decoded, encoded, all.encoded.len(), all.decoded_end, all.events)
}

fuzz_target!(|bytes: &[u8]| {
    let &[flags, piece, ref data @ ..] = bytes else { return };
    let whole = outcome(flags, data, data.len().max(1));
    let pieces = outcome(flags, data, usize::from(piece).max(1));
    assert_eq!(whole, pieces);
});
