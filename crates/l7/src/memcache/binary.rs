//! The binary protocol.

use crate::memcache::queue::{Owed, Queue, TOO_MANY};
use crate::memcache::{Command, Request};
use crate::op::{ErrorCode, Op};
use crate::parser::Context;
use crate::record::{EntryType, L7};
use crate::request;

const HEADER: usize = 24;
const REQUEST: u8 = 0x80;
const RESPONSE: u8 = 0x81;
/// Longest body: memcached's largest value with room for key and extras.
const MAX_BODY: usize = (1 << 30) + (1 << 17);
/// What the answer to a denied request says.
const DENIAL: &[u8] = b"access denied";
/// Its status: authentication error.
const DENIED: u8 = 8;
const NOOP: u8 = 0x0a;
const STAT: u8 = 0x10;
const QUIT_QUIETLY: u8 = 0x17;
/// Name of the protocol in the access log.
const PROTO: &str = "binarymemcached";

/// One connection of the binary protocol.
#[derive(Debug, Default)]
pub(crate) struct Binary {
    /// Opcodes of the requests.
    queue: Queue<u8>,
    /// Length of the request at hand, which is denied, and for which a mark was asked.
    dropping: Option<usize>,
}

/// A message's header and key.
struct Header<'a> {
    opcode: u8,
    key: &'a [u8],
    status: [u8; 2],
    opaque: [u8; 4],
    frame: usize,
}

/// Requests that the server answers only if something is amiss, or something is found.
fn is_quiet(opcode: u8) -> bool {
    matches!(opcode, 0x09 | 0x0d | 0x11..=0x1a | 0x1e | 0x24 | 0x32 | 0x34 | 0x36 | 0x38 | 0x3a | 0x3c)
}

fn header<'a>(context: &mut Context<'_>, data: &'a [u8], magic: u8) -> Result<Header<'a>, Op> {
    let Some((head, rest)) = data.split_first_chunk::<HEADER>() else {
        return Err(Op::More(HEADER - data.len()));
    };
    if head[0] != magic {
        return Err(context.fail(ErrorCode::InvalidFrameType, format!("magic {:#x} instead of {magic:#x}", head[0])));
    }
    let (key, extras) = (usize::from(u16::from_be_bytes([head[2], head[3]])), usize::from(head[4]));
    let body = u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
    if key + extras > body || body > MAX_BODY {
        return Err(context.fail(ErrorCode::InvalidFrameLength, format!("a body of {body} bytes")));
    }
    let key = if key == 0 { Some(&rest[..0]) } else { rest.get(extras..extras + key) };
    let Some(key) = key else {
        let needed = extras + usize::from(u16::from_be_bytes([head[2], head[3]]));
        return Err(Op::More(needed - rest.len()));
    };
    Ok(Header {
        opcode: head[1],
        key,
        status: [head[6], head[7]],
        opaque: [head[12], head[13], head[14], head[15]],
        frame: HEADER + body,
    })
}

fn record(header: &Header<'_>) -> L7 {
    let key = String::from_utf8_lossy(header.key).into_owned();
    L7::generic(PROTO, [("opcode", header.opcode.to_string()), ("key", key)])
}

/// A message without key, extras and value.
fn empty(magic: u8, opcode: u8, opaque: [u8; 4]) -> [u8; HEADER] {
    let mut message = [0; HEADER];
    (message[0], message[1]) = (magic, opcode);
    message[12..16].copy_from_slice(&opaque);
    message
}

fn denial(header: &Header<'_>) -> Vec<u8> {
    let mut message = empty(RESPONSE, header.opcode, header.opaque).to_vec();
    (message[7], message[11]) = (DENIED, 13);
    message.extend_from_slice(DENIAL);
    message
}

impl Binary {
    pub(crate) fn request(&mut self, context: &mut Context<'_>, data: &[u8]) -> Op {
        if let Some(frame) = self.dropping.take() {
            return Op::Drop(frame);
        }
        let header = match header(context, data, REQUEST) {
            Ok(header) => header,
            Err(op) => return op,
        };
        // As in the reference, a request without key has one empty key, unless it can have none.
        let keys = if header.opcode == NOOP { Vec::new() } else { vec![header.key] };
        let request = Request { command: Command::Binary(header.opcode), keys };
        let decision = context.decide(&request::Request::Memcache(&request));
        context.log_decision(&decision, record(&header));
        if !decision.allowed {
            return self.deny(context, &header);
        }
        let pushed = match header.opcode {
            QUIT_QUIETLY => true,
            NOOP => self.queue.push(Owed::Mark),
            opcode if is_quiet(opcode) => self.queue.push(Owed::Quiet),
            opcode => self.queue.push(Owed::Reply(opcode)),
        };
        if pushed { Op::Pass(header.frame) } else { context.fail(ErrorCode::InvalidFrameType, TOO_MANY) }
    }

    fn deny(&mut self, context: &mut Context<'_>, header: &Header<'_>) -> Op {
        let denial = denial(header);
        if self.queue.is_empty() {
            context.inject(true, &denial);
            return Op::Drop(header.frame);
        }
        let marked = self.queue.ends_quiet();
        let owed = if marked { Owed::OwnMark(denial) } else { Owed::Denial(denial) };
        if !self.queue.push(owed) {
            return context.fail(ErrorCode::InvalidFrameType, TOO_MANY);
        }
        if !marked {
            return Op::Drop(header.frame);
        }
        self.dropping = Some(header.frame);
        context.inject(false, &empty(REQUEST, NOOP, header.opaque));
        Op::Inject(HEADER)
    }

    pub(crate) fn reply(&mut self, context: &mut Context<'_>, data: &[u8]) -> Op {
        let denials = self.queue.take_denials();
        if !denials.is_empty() {
            context.inject(true, &denials);
            return Op::Inject(denials.len());
        }
        if data.is_empty() {
            return Op::Nop;
        }
        let header = match header(context, data, RESPONSE) {
            Ok(header) => header,
            Err(op) => return op,
        };
        if matches!(self.queue.front(), Some(Owed::Quiet)) && !is_quiet(header.opcode) {
            self.queue.pop();
        }
        match self.queue.front() {
            Some(Owed::OwnMark(_)) if header.opcode == NOOP => {
                if let Some(Owed::OwnMark(denial)) = self.queue.pop() {
                    self.queue.push_front(Owed::Denial(denial));
                }
                return Op::Drop(header.frame);
            }
            Some(Owed::Mark) if header.opcode == NOOP => {
                self.queue.pop();
            }
            Some(Owed::Reply(opcode)) => {
                // Statistics come one by one, and end with an empty one.
                let last = *opcode != STAT || header.frame == HEADER || header.status != [0, 0];
                if last {
                    self.queue.pop();
                }
            }
            Some(Owed::Quiet) => {}
            Some(Owed::Mark | Owed::OwnMark(_) | Owed::Denial(_)) => {
                return context.fail(ErrorCode::InvalidFrameType, "a reply that is not to the request");
            }
            None => return context.fail(ErrorCode::InvalidFrameType, "a reply without a request"),
        }
        context.log(EntryType::Response, record(&header));
        Op::Pass(header.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a packet is found behind the extras.
    #[test]
    fn keys_are_behind_the_extras() {
        let packet = |key: &[u8], extras: &[u8]| {
            let mut packet = empty(REQUEST, 0, [0; 4]).to_vec();
            packet[3] = u8::try_from(key.len()).unwrap();
            packet[4] = u8::try_from(extras.len()).unwrap();
            packet[11] = u8::try_from(key.len() + extras.len()).unwrap();
            packet.extend(extras);
            packet.extend(key);
            packet
        };
        for (key, extras) in [(&b"Test1"[..], &b""[..]), (b"Test1", b"extr"), (b"", &[0, 0, 0x1c, 0x20])] {
            let mut harness = crate::testing::Harness::new("memcache", &[]);
            harness.client(&packet(key, extras));
            assert_eq!(harness.records[0].fields()["key"].as_bytes(), key);
        }
    }
}
