use std::net::SocketAddr;
use std::sync::Arc;

use cilium_proto::cilium::{WebSocketClient, WebSocketServer};
use proptest::prelude::*;

use super::{Codec, Event, Output};
use crate::{Config, ConfigError, Error, accept_key, request_id};

const REQUEST_ID: &str = "ba41267c-cfc2-4a92-ad3e-cd084ab099b4";

/// The calls, each with an output of its own.
trait Outputs {
    fn call(&mut self, act: impl FnOnce(&mut Codec, &mut Output)) -> Output;

    fn started(&mut self, destination: SocketAddr, request_id: &str) -> Output {
        self.call(|codec, out| codec.start(destination, request_id, out))
    }

    fn framed(&mut self, data: &[u8], end_stream: bool) -> Output {
        self.call(|codec, out| codec.encode(std::iter::once(data), end_stream, out))
    }

    fn unframed(&mut self, data: &[u8], end_stream: bool) -> Output {
        self.call(|codec, out| codec.decode(std::iter::once(data), end_stream, out))
    }

    fn pinged(&mut self) -> Output {
        self.call(|codec, out| {
            codec.ping(out);
        })
    }

    fn timed_out(&mut self) -> Output {
        self.call(Codec::time_out)
    }
}

impl Outputs for Codec {
    fn call(&mut self, act: impl FnOnce(&mut Codec, &mut Output)) -> Output {
        let mut out = Output::default();
        act(self, &mut out);
        out
    }
}

fn destination() -> SocketAddr {
    "127.0.0.1:18080".parse().unwrap()
}

fn client(message: WebSocketClient) -> Codec {
    let message = WebSocketClient { host: "jarno.cilium.rocks".to_owned(), ..message };
    Codec::new(Arc::new(Config::client(&message).unwrap()))
}

fn server(message: &WebSocketServer) -> Codec {
    Codec::new(Arc::new(Config::server(message).unwrap()))
}

fn failure(out: &Output) -> Option<Error> {
    out.events.iter().find_map(|event| if let Event::Failed(error) = event { Some(*error) } else { None })
}

/// A client and a server that have shaken hands.
fn open() -> (Codec, Codec) {
    let (mut client, mut server) = (client(WebSocketClient::default()), server(&WebSocketServer::default()));
    let request = client.started(destination(), REQUEST_ID);
    let response = server.unframed(&request.encoded, false);
    assert!(response.events.contains(&Event::Destination(destination())));
    assert_eq!(failure(&client.unframed(&response.encoded, false)), None);
    assert!(client.accepted() && server.accepted());
    (client, server)
}

#[test]
fn accept_key_is_the_one_of_the_rfc() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(accept_key("c3VwZXItc2VjcmV0LWtleQ=="), "GjgmQ9MzNsn3h7+vuIzY25rbQ9M=");
}

#[test]
fn request_has_the_headers_in_the_order_peers_of_the_reference_see() {
    let message = WebSocketClient {
        key: "super-secret-key".to_owned(),
        origin: "jarno.cilium.rocks".to_owned(),
        ..WebSocketClient::default()
    };
    let request = client(message).started(destination(), REQUEST_ID);
    let expected = format!(
        "GET / HTTP/1.1\r\nhost: jarno.cilium.rocks\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-key: c3VwZXItc2VjcmV0LWtleQ==\r\nsec-websocket-version: 13\r\norigin: jarno.cilium.rocks\r\n\
         x-envoy-original-dst-host: 127.0.0.1:18080\r\nx-request-id: {REQUEST_ID}\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(String::from_utf8(request.encoded).unwrap(), expected);
}

#[test]
fn client_keys_differ_between_connections() {
    let first = client(WebSocketClient::default()).started(destination(), REQUEST_ID);
    let second = client(WebSocketClient::default()).started(destination(), REQUEST_ID);
    assert_ne!(first.encoded, second.encoded);
}

#[test]
fn data_sent_before_the_handshake_is_accepted_waits_for_it() {
    let (mut client, mut server) = (client(WebSocketClient::default()), server(&WebSocketServer::default()));
    let request = client.started(destination(), REQUEST_ID);
    assert!(client.framed(b"early", false).encoded.is_empty());
    let response = server.unframed(&request.encoded, false);
    let frames = client.unframed(&response.encoded, false);
    assert_eq!(server.unframed(&frames.encoded, false).decoded, b"early");
}

#[test]
fn close_frame_ends_one_direction_only() {
    let (mut client, mut server) = open();
    let last = client.framed(b"bye", true);
    assert!(last.encoded_end);
    let got = server.unframed(&last.encoded, false);
    assert_eq!((got.decoded.as_slice(), got.decoded_end), (b"bye".as_slice(), true));
    let reply = server.framed(b"still here", false);
    assert_eq!(client.unframed(&reply.encoded, false).decoded, b"still here");
    assert!(client.framed(b"more", false).encoded.is_empty());
}

#[test]
fn ping_is_answered_with_its_payload() {
    let (mut client, mut server) = open();
    let request = client.pinged();
    let reply = server.unframed(&request.encoded, false);
    assert_eq!(reply.encoded, [0x8a, 1, b'1']);
    let out = client.unframed(&reply.encoded, false);
    assert!(out.decoded.is_empty() && out.encoded.is_empty());
}

#[test]
fn server_takes_unmasked_frames() {
    let (_, mut server) = open();
    assert_eq!(server.unframed(b"\x82\x05world", false).decoded, b"world");
}

#[test]
fn sixteen_and_sixty_four_bit_lengths_are_read_and_written() {
    for length in [125, 126, 65_535, 65_536, 200_000] {
        let (mut client, mut server) = open();
        let data = vec![b'a'; length];
        assert_eq!(server.unframed(&client.framed(&data, false).encoded, false).decoded, data);
        assert_eq!(client.unframed(&server.framed(&data, false).encoded, false).decoded, data);
    }
}

#[test]
fn invalid_frames_fail_the_connection() {
    let reserved_bit: &[u8] = &[0xc2, 0];
    let unknown_opcode: &[u8] = &[0x83, 0];
    let fragmented_ping: &[u8] = &[0x09, 0];
    let long_ping: &[u8] = &[0x89, 126, 0x01, 0x01];
    let negative_length: &[u8] = &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
    for frame in [reserved_bit, unknown_opcode, fragmented_ping, long_ping, negative_length] {
        let (_, mut server) = open();
        assert_eq!(failure(&server.unframed(frame, false)), Some(Error::InvalidFrame), "{frame:?}");
        assert!(server.unframed(b"\x82\x01a", false).decoded.is_empty());
    }
}

#[test]
fn what_came_of_a_frame_that_is_cut_off_goes_on() {
    for (bytes, decoded) in [(b"\x82\x05wor".as_slice(), b"wor".as_slice()), (b"\x82\x7f\0", b""), (b"\x89\x04pi", b"")]
    {
        let (_, mut server) = open();
        let out = server.unframed(bytes, true);
        assert_eq!((out.decoded.as_slice(), out.decoded_end), (decoded, true));
        assert_eq!(out.events, [Event::CutOff]);
        assert_eq!(server.framed(b"x", false).encoded, b"\x82\x01x", "the other direction is open");
    }
}

#[test]
fn end_within_the_handshake_fails_the_connection() {
    let mut server = server(&WebSocketServer::default());
    assert_eq!(failure(&server.unframed(b"GET / HT", true)), Some(Error::UnexpectedEnd));
}

#[test]
fn client_refuses_wrong_answers() {
    let cases: [(&[u8], Error); 6] = [
        (b"SSH-2.0-OpenSSH", Error::HandshakeNotHttp),
        (b"HTTP/1.1 200 OK\r\n\r\n", Error::HandshakeInvalidHttpStatus),
        (b"HTTP/1.1 101 Switching Protocols\r\nbad header\r\n\r\n", Error::HandshakeParseError),
        (b"HTTP/1.1 101 Switching Protocols\r\nsec_websocket_accept: x\r\n\r\n", Error::HandshakeParseError),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: invalid-hash\r\n\r\n",
            Error::HandshakeInvalidWebsocketResponse,
        ),
        (&[b"HTTP/1.1 101 X\r\nx: ".as_slice(), &[b'a'; 5000]].concat(), Error::HandshakeTooLarge),
    ];
    for (answer, error) in cases {
        let mut client = client(WebSocketClient::default());
        client.started(destination(), REQUEST_ID);
        assert_eq!(failure(&client.unframed(answer, false)), Some(error));
    }
}

fn request(lines: &[&str]) -> Vec<u8> {
    format!("GET /chat HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

const VALID: [&str; 6] = [
    "Host: Server",
    "Connection: Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    "X-Envoy-Original-Dst-Host: [::1]:80",
];

#[test]
fn server_answers_a_valid_request_with_101() {
    let mut server = server(&WebSocketServer::default());
    let out = server.unframed(&request(&VALID), false);
    let text = String::from_utf8(out.encoded).unwrap();
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}");
    assert!(text.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    assert!(out.events.contains(&Event::Destination("[::1]:80".parse().unwrap())));
}

#[test]
fn server_answers_other_requests_with_403() {
    let without = |name: &str| -> Vec<&str> { VALID.into_iter().filter(|line| !line.starts_with(name)).collect() };
    let with = |line| -> Vec<&str> { VALID.into_iter().chain([line]).collect() };
    let requests = [
        without("Host"),
        without("Connection"),
        without("Upgrade"),
        without("Sec-WebSocket-Key"),
        without("Sec-WebSocket-Version"),
        without("X-Envoy"),
        with("Origin: anywhere"),
        with("Sec-WebSocket-Protocol: chat"),
        with("Sec-WebSocket-Extensions: permessage-deflate"),
    ];
    for lines in requests {
        let out = server(&WebSocketServer::default()).unframed(&request(&lines), false);
        assert_eq!(failure(&out), Some(Error::HandshakeInvalidWebsocketRequest), "{lines:?}");
        assert!(out.encoded.starts_with(b"HTTP/1.1 403 Forbidden\r\n") && out.encoded_end, "{lines:?}");
    }
}

#[test]
fn server_demands_what_is_configured() {
    let demanding = WebSocketServer {
        host: "Server".to_owned(),
        path: "/Chat".to_owned(),
        origin: "Somewhere".to_owned(),
        ..WebSocketServer::default()
    };
    let with_origin: Vec<&str> = VALID.into_iter().chain(["Origin: somewhere"]).collect();
    assert_eq!(failure(&server(&demanding).unframed(&request(&with_origin), false)), None);
    assert_eq!(
        failure(&server(&demanding).unframed(&request(&VALID), false)),
        Some(Error::HandshakeInvalidWebsocketRequest)
    );
}

#[test]
fn handshake_that_does_not_come_times_out_once() {
    let mut server = server(&WebSocketServer::default());
    assert_eq!(failure(&server.timed_out()), Some(Error::HandshakeTimeout));
    let (mut client, _) = open();
    assert_eq!(failure(&client.timed_out()), None);
}

#[test]
fn pieces_of_a_write_are_one_frame() {
    let (mut client, mut server) = open();
    let frame = server.call(|codec, out| codec.encode([b"hel".as_slice(), b"", b"lo"].into_iter(), false, out));
    assert_eq!(frame.encoded, b"\x82\x05hello");
    assert_eq!(client.unframed(&frame.encoded, false).decoded, b"hello");
}

#[test]
fn what_surrounds_bytes_makes_the_frame_that_encoding_makes() {
    for (data, end) in [(b"hello".as_slice(), false), (b"", false), (b"bye", true)] {
        let (_, mut encoding) = open();
        let (_, mut surrounding) = open();
        let (before, after) = surrounding.surround(data.len(), end).unwrap();
        assert_eq!([&before, data, &after].concat(), encoding.framed(data, end).encoded);
    }
    let (mut client, mut server) = open();
    assert_eq!(client.surround(5, false), None, "a client's frames are masked");
    server.framed(b"", true);
    assert_eq!(server.surround(5, false), None, "nothing follows the close frame");
    assert_eq!(self::server(&WebSocketServer::default()).surround(5, false), None, "no handshake yet");
}

#[test]
fn pings_come_up_to_fifteen_percent_late() {
    let interval = prost_types::Duration { seconds: 1, nanos: 0 };
    let config = WebSocketServer { ping_interval: Some(interval), ..WebSocketServer::default() };
    let config = Config::server(&config).unwrap();
    let times: Vec<u128> = (0..1000).map(|_| config.next_ping().as_millis()).collect();
    assert!(times.iter().all(|time| (1000..=1150).contains(time)), "{times:?}");
    assert!(times.iter().any(|time| *time > 1050), "{times:?}");
}

#[test]
fn request_ids_are_random_uuids() {
    let id = request_id();
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    assert!(id[14..15] == *"4" && "89ab".contains(&id[19..20]), "{id}");
    assert_ne!(id, request_id());
}

#[test]
fn every_error_has_a_counter_among_those_listed() {
    for error in [Error::HandshakeTimeout, Error::HandshakeInvalidWebsocketRequest, Error::UnexpectedEnd] {
        assert!(Error::COUNTERS.contains(&error.counter()));
    }
}

#[test]
fn configuration_errors_are_those_of_the_reference() {
    let idle = WebSocketServer { ping_when_idle: true, ..WebSocketServer::default() };
    assert_eq!(Config::server(&idle).unwrap_err(), ConfigError::PingWithoutInterval);
    assert_eq!(Config::client(&WebSocketClient::default()).unwrap_err(), ConfigError::HostMissing);
}

/// Cuts `data` at the given places and decodes the pieces.
fn decode_in_pieces(codec: &mut Codec, data: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<u8>, bool, Option<Error>) {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (data.len() + 1)).chain([0, data.len()]).collect();
    places.sort_unstable();
    let (mut decoded, mut encoded, mut end, mut error) = (Vec::new(), Vec::new(), false, None);
    for pair in places.windows(2) {
        let out = codec.unframed(&data[pair[0]..pair[1]], false);
        error = error.or_else(|| failure(&out));
        decoded.extend(out.decoded);
        encoded.extend(out.encoded);
        end |= out.decoded_end;
    }
    (decoded, encoded, end, error)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_stream(
        writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
        pings in any::<bool>(),
    ) {
        let (mut client, mut server) = open();
        let mut wire = Vec::new();
        for write in &writes {
            wire.extend(client.framed(write, false).encoded);
            if pings {
                wire.extend(client.pinged().encoded);
            }
        }
        wire.extend(client.framed(&[], true).encoded);
        let (decoded, pongs, end, error) = decode_in_pieces(&mut server, &wire, &cuts);
        prop_assert_eq!(decoded, writes.concat());
        prop_assert_eq!(pongs.is_empty(), !pings || writes.is_empty());
        prop_assert!(end);
        prop_assert_eq!(error, None);
    }

    #[test]
    fn arbitrary_bytes_give_the_same_result_in_any_chunking(
        data in prop::collection::vec(any::<u8>(), 0..600),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let whole = decode_in_pieces(&mut open().1, &data, &[]);
        let pieces = decode_in_pieces(&mut open().1, &data, &cuts);
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn arbitrary_handshakes_never_panic(data in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut request = b"GET ".to_vec();
        request.extend(&data);
        server(&WebSocketServer::default()).unframed(&request, true);
        let mut response = b"HTTP/1.1 ".to_vec();
        response.extend(&data);
        client(WebSocketClient::default()).unframed(&response, true);
    }
}
