//! One side of one websocket: handshake, then frames both ways.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Config, Role};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::Error;
use crate::frame::Opcode;
use crate::handshake::{Head, build_accepted, build_refused, build_request, check_request, check_response, find_end};

/// What happened, beside bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Client: the handshake request, as sent.
    RequestSent(Head),
    /// Server: a handshake request arrived; it may still be refused.
    RequestReceived(Head),
    /// Server: where the peer wants the stream to go. The upstream may be connected now.
    Destination(SocketAddr),
    /// Server: the answer, as sent.
    ResponseSent(Head),
    /// Client: the peer's answer; it may still be refused.
    ResponseReceived(Head),
    /// The handshake is complete: its timer ends, pings begin.
    Accepted,
    /// The websocket side ended within a frame. What came of it goes on, and its end.
    CutOff,
    /// The connection must be closed without flushing; what is in `Output` goes out before.
    Failed(Error),
}

/// What a call produced.
#[derive(Debug, Default)]
pub struct Output {
    /// Bytes for the websocket side.
    pub encoded: Vec<u8>,
    /// The websocket side ends with these bytes.
    pub encoded_end: bool,
    /// Bytes for the plain side.
    pub decoded: Vec<u8>,
    /// The plain side ends with these bytes.
    pub decoded_end: bool,
    /// In the order in which they happened.
    pub events: Vec<Event>,
}

/// State of one connection's websocket.
///
/// After `Event::Failed` every call returns nothing.
pub struct Codec {
    config: Arc<Config>,
    phase: Phase,
    /// Key of this connection's request.
    key: String,
    encoder: Encoder,
    decoder: Decoder,
    /// Frames made before the handshake was accepted.
    waiting: Vec<u8>,
    pings_sent: u64,
}

enum Phase {
    /// Holds what has arrived of the handshake.
    Handshake(Vec<u8>),
    Open,
    Failed,
}

impl Output {
    /// Forgets everything but the room it takes.
    pub fn clear(&mut self) {
        self.encoded.clear();
        self.decoded.clear();
        self.events.clear();
        (self.encoded_end, self.decoded_end) = (false, false);
    }
}

impl Codec {
    /// A codec whose handshake is still to come.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        let key = if config.role == Role::Client && config.key.is_empty() {
            STANDARD.encode(rand::random::<[u8; 16]>())
        } else {
            config.key.clone()
        };
        Self {
            encoder: Encoder::new(config.role),
            decoder: Decoder::default(),
            phase: Phase::Handshake(Vec::new()),
            key,
            config,
            waiting: Vec::new(),
            pings_sent: 0,
        }
    }

    /// Client: sends the handshake. `destination` is where the stream was going.
    pub fn start(&mut self, destination: SocketAddr, request_id: &str, out: &mut Output) {
        let (text, head) = build_request(&self.config, &self.key, destination, request_id);
        out.encoded.extend(text);
        out.events.push(Event::RequestSent(head));
    }

    /// Whether the handshake is complete.
    #[must_use]
    pub fn accepted(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Bytes that wait for the handshake.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Wraps bytes of the plain side as one frame. Before the handshake is complete it waits.
    pub fn encode<'d, P>(&mut self, pieces: P, end_stream: bool, out: &mut Output)
    where
        P: Iterator<Item = &'d [u8]> + Clone,
    {
        match self.phase {
            Phase::Failed => {}
            Phase::Handshake(_) => self.encoder.data(&mut self.waiting, pieces, end_stream),
            Phase::Open => {
                self.encoder.data(&mut out.encoded, pieces, end_stream);
                out.encoded_end = self.encoder.ended();
            }
        }
    }

    /// What goes before and after that many bytes of the plain side, which themselves stay as they are.
    ///
    /// `None`: they are to be changed or to wait, see [`Codec::encode`].
    pub fn surround(&mut self, length: usize, end_stream: bool) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.accepted() { self.encoder.surround(length, end_stream) } else { None }
    }

    /// Unwraps bytes of the websocket side.
    pub fn decode<'d>(&mut self, pieces: impl Iterator<Item = &'d [u8]>, end_stream: bool, out: &mut Output) {
        let mut decoded = Ok(());
        for piece in pieces {
            decoded = decoded.and_then(|()| self.try_decode(piece, false, out));
        }
        if end_stream {
            decoded = decoded.and_then(|()| self.try_decode(&[], true, out));
        }
        if let Err(error) = decoded {
            self.phase = Phase::Failed;
            out.events.push(Event::Failed(error));
        }
    }

    /// Sends a ping, numbered; nothing before the handshake or after the close frame. Tells whether it did.
    pub fn ping(&mut self, out: &mut Output) -> bool {
        let payload = (self.pings_sent + 1).to_string();
        let sent = self.accepted() && self.encoder.control(&mut out.encoded, Opcode::Ping, payload.as_bytes());
        self.pings_sent += u64::from(sent);
        sent
    }

    /// The handshake took too long.
    pub fn time_out(&mut self, out: &mut Output) {
        if matches!(self.phase, Phase::Handshake(_)) {
            self.phase = Phase::Failed;
            out.events.push(Event::Failed(Error::HandshakeTimeout));
        }
    }

    fn try_decode(&mut self, data: &[u8], end_stream: bool, out: &mut Output) -> Result<(), Error> {
        let Phase::Handshake(buffer) = &mut self.phase else {
            return if self.accepted() { self.frames(data, end_stream, out) } else { Ok(()) };
        };
        buffer.extend_from_slice(data);
        let prefix: &[u8] = if self.config.role == Role::Client { b"HTTP/1.1 " } else { b"GET " };
        let Some(end) = find_end(buffer, prefix)? else {
            return if end_stream { Err(Error::UnexpectedEnd) } else { Ok(()) };
        };
        let rest = buffer.split_off(end);
        let head = std::mem::take(buffer);
        match self.config.role {
            Role::Client => self.accept_response(&head, out)?,
            Role::Server => self.accept_request(&head, out)?,
        }
        self.phase = Phase::Open;
        out.events.push(Event::Accepted);
        out.encoded.append(&mut self.waiting);
        out.encoded_end = self.encoder.ended();
        self.frames(&rest, end_stream, out)
    }

    fn accept_response(&self, text: &[u8], out: &mut Output) -> Result<(), Error> {
        let head = Head::response(text)?;
        out.events.push(Event::ResponseReceived(head.clone()));
        check_response(&head, &self.key)
    }

    fn accept_request(&self, text: &[u8], out: &mut Output) -> Result<(), Error> {
        let head = Head::request(text)?;
        out.events.push(Event::RequestReceived(head.clone()));
        if !head.http_1_1 {
            return Err(Error::HandshakeInvalidHttpVersion);
        }
        let request_id = head.get("x-request-id");
        let Some(destination) = check_request(&self.config, &head) else {
            let (text, answer) = build_refused(request_id.as_deref());
            out.encoded.extend(text);
            out.encoded_end = true;
            out.events.push(Event::ResponseSent(answer));
            return Err(Error::HandshakeInvalidWebsocketRequest);
        };
        let key = head.get("sec-websocket-key").unwrap_or_default();
        let (text, answer) = build_accepted(&key, request_id.as_deref());
        out.encoded.extend(text);
        out.events.push(Event::Destination(destination));
        out.events.push(Event::ResponseSent(answer));
        Ok(())
    }

    fn frames(&mut self, data: &[u8], end_stream: bool, out: &mut Output) -> Result<(), Error> {
        let mut pings = Vec::new();
        let decoded = self.decoder.decode(data, end_stream, &mut out.decoded, &mut pings);
        for payload in pings {
            self.encoder.control(&mut out.encoded, Opcode::Pong, &payload);
        }
        out.decoded_end = self.decoder.ended();
        if decoded? {
            out.events.push(Event::CutOff);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
