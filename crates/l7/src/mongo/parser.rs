//! The parser of one `MongoDB` connection.

use bson::rawdoc;

use crate::metadata;
use crate::mongo::NAME;
use crate::mongo::message::{HEADER, MAX_MESSAGE, Message, OP_MSG, Rest, Start, int, message, start};
use crate::op::{ErrorCode, Op};
use crate::parser::{Context, Parser};

/// Longer messages are decided on by their start, if the rest is data.
const STREAMED: usize = 1 << 20;
const MALFORMED: &str = "a message that is malformed or of an unknown kind";

/// The parser of one connection. Replies carry the number of their request, so it keeps none.
#[derive(Debug, Default)]
pub(crate) struct Mongo {
    begun: bool,
    /// Of the message at hand, which is allowed.
    rest: Option<Rest>,
}

/// The reply to a denied request.
fn denial(code: i32, request: i32) -> Vec<u8> {
    const QUERY_FAILURE: i32 = 2;
    let document = rawdoc! { "ok": 0.0, "errmsg": "not authorized by policy", "code": 13, "codeName": "Unauthorized", "$err": "not authorized by policy" };
    let head: Vec<u8> = match code {
        OP_MSG => [&0_i32.to_le_bytes()[..], &[0]].concat(),
        _ => [QUERY_FAILURE, 0, 0, 0, 1].map(i32::to_le_bytes).concat(),
    };
    let length = i32::try_from(HEADER + head.len() + document.as_bytes().len()).unwrap_or_default();
    [&[length, 0, request, code].map(i32::to_le_bytes).concat(), &head[..], document.as_bytes()].concat()
}

/// The first bytes of a TLS client. As a length they are that of no first message.
fn is_tls(data: &[u8]) -> bool {
    matches!(data, [0x16, 3, 1..=3, ..])
}

impl Mongo {
    fn request(&mut self, context: &mut Context<'_>, data: &[u8]) -> Op {
        if let Some(rest) = &mut self.rest {
            if data.len() < rest.needed() {
                return Op::More(rest.needed() - data.len());
            }
            let Some(length) = rest.take(data) else {
                return context.fail(ErrorCode::InvalidFrameType, MALFORMED);
            };
            self.rest = self.rest.filter(|rest| !rest.is_empty());
            return Op::Pass(length);
        }
        let (Some(number), Some(code)) = (int(data, 4), int(data, 12)) else {
            return Op::More(HEADER - data.len());
        };
        if !std::mem::replace(&mut self.begun, true) && is_tls(data) {
            return context.fail(ErrorCode::InvalidFrameType, "TLS, under which messages cannot be read");
        }
        let length = match length(context, data) {
            Ok(length) => length,
            Err(op) => return op,
        };
        if code == OP_MSG && length > STREAMED {
            match start(data, length) {
                None => return context.fail(ErrorCode::InvalidFrameType, MALFORMED),
                Some(Start::More(needed)) => return Op::More(needed - data.len()),
                Some(Start::Whole) => {}
                Some(Start::Known(message, rest)) => {
                    if !decide(context, message, number) {
                        return Op::Drop(length);
                    }
                    self.rest = Some(rest).filter(|rest| !rest.is_empty());
                    return Op::Pass(rest.before(length));
                }
            }
        }
        let Some(body) = data.get(HEADER..length) else { return Op::More(length - data.len()) };
        let Some(message) = message(code, body) else {
            return context.fail(ErrorCode::InvalidFrameType, MALFORMED);
        };
        if decide(context, message, number) { Op::Pass(length) } else { Op::Drop(length) }
    }
}

/// Whether a message may pass; answers it if not.
fn decide(context: &mut Context<'_>, message: Message, number: i32) -> bool {
    let Message { command, reply } = message;
    if command.session || metadata::ask(context, NAME, "collections", command.collections).allowed {
        return true;
    }
    if let Some(code) = reply {
        context.inject(true, &denial(code, number));
    }
    false
}

fn length(context: &mut Context<'_>, data: &[u8]) -> Result<usize, Op> {
    let Some(length) = int(data, 0) else { return Err(Op::More(HEADER - data.len())) };
    let known = usize::try_from(length).ok().filter(|length| (HEADER..=MAX_MESSAGE).contains(length));
    known.ok_or_else(|| context.fail(ErrorCode::InvalidFrameLength, format!("a message of {length} bytes")))
}

impl Parser for Mongo {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        if data.is_empty() {
            return Op::Nop;
        }
        if reply { length(context, data).map_or_else(|op| op, Op::Pass) } else { self.request(context, data) }
    }
}
