//! The parser of one Cassandra connection.

use std::borrow::Cow;

use crate::cassandra::compress::Compression;
use crate::cassandra::envelope::{AUTHENTICATE, HEADER, Header, READY, RESULT, Reader, STARTUP};
use crate::cassandra::request::{Body, Known, Run};
use crate::cassandra::segment::{self, NoSegment};
use crate::cassandra::{NAME, Statement};
use crate::op::{ErrorCode, Op};
use crate::parser::{Context, Parser, Seed};
use crate::record::{EntryType, L7};
use crate::request::{Decision, Request};

/// Longest body, by the specification. The driver of the connection closes far below.
const MAX_BODY: usize = 256 << 20;
const UNAUTHORIZED: i32 = 0x2100;
const UNPREPARED: i32 = 0x2500;
const PROTOCOL_ERROR: i32 = 0x000a;

/// How messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// As envelopes.
    Envelopes,
    /// As envelopes, until the server answers the `STARTUP` of version 5 on this stream.
    Starting([u8; 2]),
    /// In segments.
    Segments,
}

/// The parser of one connection.
#[derive(Debug)]
pub(crate) struct Cassandra {
    framing: Framing,
    compression: Option<Compression>,
    /// The server has seen a `STARTUP`. It keeps to the compression of the first.
    started: bool,
    known: Known,
    /// Length of the segments at hand, which were replaced by others.
    dropping: Option<usize>,
    /// Bytes that are missing of a reply that takes several segments.
    reply_rest: usize,
    /// Segments with denials that must wait for the end of that reply.
    held: Vec<u8>,
}

/// What becomes of a request.
struct Outcome {
    allowed: bool,
    /// An envelope for the client.
    reply: Option<Vec<u8>>,
}

type Failure = (ErrorCode, &'static str);

impl Default for Cassandra {
    fn default() -> Self {
        Self {
            framing: Framing::Envelopes,
            compression: None,
            started: false,
            known: Known::default(),
            dropping: None,
            reply_rest: 0,
            held: Vec::new(),
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap_or_default().to_be_bytes()[..], text.as_bytes()].concat()
}

fn unauthorized(header: &Header) -> Vec<u8> {
    header.error(&[&UNAUTHORIZED.to_be_bytes()[..], &text("Request Unauthorized")].concat())
}

/// Asks to prepare again. The reference leaves the message out, which no driver can read; so it stays only where the policy allows
/// nothing at all, and preparing again would not help.
fn unprepared(header: &Header, id: &[u8], hopeless: bool) -> Vec<u8> {
    let length = u16::try_from(id.len()).unwrap_or_default().to_be_bytes();
    let message = if hopeless { Vec::new() } else { text("unknown prepared statement") };
    header.error(&[&UNPREPARED.to_be_bytes()[..], &message, &length, id].concat())
}

fn unsupported(header: &Header) -> Vec<u8> {
    let message = format!(
        "Invalid or unsupported protocol version ({}); the lowest supported version is 3 and the greatest is 5",
        header.version
    );
    header.error(&[&PROTOCOL_ERROR.to_be_bytes()[..], &text(&message)].concat())
}

fn decide(context: &Context<'_>, statement: &Statement) -> Decision {
    context.decide(&Request::Cassandra(statement))
}

impl Cassandra {
    /// The body, decompressed.
    fn body<'a>(&self, header: &Header, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Failure> {
        if !header.is_compressed() || self.framing == Framing::Segments {
            return Ok(Cow::Borrowed(body));
        }
        let compression =
            self.compression.ok_or((ErrorCode::InvalidFrameType, "a compressed message, which was not agreed on"))?;
        let body =
            compression.decompress(body).ok_or((ErrorCode::InvalidFrameType, "a body that cannot be decompressed"))?;
        Ok(Cow::Owned(body))
    }

    fn request(&mut self, context: &mut Context<'_>, header: &Header, body: &[u8]) -> Result<Outcome, Failure> {
        if header.reply {
            return Err((ErrorCode::InvalidFrameType, "a reply from the client"));
        }
        if !(3..=5).contains(&header.version) {
            return Ok(Outcome { allowed: false, reply: Some(unsupported(header)) });
        }
        let body = self.body(header, body)?;
        let malformed = (ErrorCode::InvalidFrameType, "a malformed request, or a statement that is not understood");
        let asked = if header.opcode == STARTUP { compression(&body).ok_or(malformed)? } else { None };
        let plain = decide(context, &Statement::default());
        let runs = match self.known.read(header, &body).ok_or(malformed)? {
            Body::Statements(runs) => runs,
            Body::None => Vec::new(),
            Body::Unknown(id) => {
                let fields = [("error", "unknown prepared query id".to_owned())];
                context.log(EntryType::Denied, L7::generic(NAME, fields));
                return Ok(Outcome { allowed: false, reply: Some(unprepared(header, &id, !plain.allowed)) });
            }
        };
        // `USE` reads and writes nothing; what follows it is decided on with its keyspace.
        let of_use = |run: &&Run| run.iter().any(|statement| statement.action == "use");
        let decisions = runs.iter().filter(|run| !of_use(run)).flatten().map(|statement| decide(context, statement));
        let decision = decisions.fold(plain, |all, one| if all.allowed { one } else { all });
        for run in runs.iter().filter(|run| !of_use(run)) {
            // Under which keyspace matters only if one of them is denied.
            let statement = run.iter().find(|statement| !decide(context, statement).allowed).or(run.last());
            if let Some(statement) = statement {
                context.log_decision(&decision, L7::generic(NAME, fields(statement)));
            }
        }
        if !decision.allowed {
            return Ok(Outcome { allowed: false, reply: Some(unauthorized(header)) });
        }
        self.known.sent(header, &runs).map_err(|why| (ErrorCode::InvalidFrameType, why))?;
        if header.opcode == STARTUP {
            if std::mem::replace(&mut self.started, true) {
                return Err((ErrorCode::InvalidFrameType, "a second STARTUP"));
            }
            self.compression = asked;
            if header.version == 5 {
                self.framing = Framing::Starting(header.stream);
            }
        }
        Ok(Outcome { allowed: true, reply: None })
    }

    fn envelope(&mut self, context: &mut Context<'_>, data: &[u8]) -> Result<Op, Failure> {
        let Some(header) = Header::read(data) else { return Ok(Op::More(HEADER - data.len())) };
        if let Framing::Starting(_) = self.framing {
            return Err((ErrorCode::InvalidFrameType, "a request before the reply to STARTUP"));
        }
        if header.length > MAX_BODY {
            return Err((ErrorCode::InvalidFrameLength, "a body of over 268435456 bytes"));
        }
        let length = HEADER + header.length;
        let Some(body) = data.get(HEADER..length) else { return Ok(Op::More(length - data.len())) };
        let outcome = self.request(context, &header, body)?;
        if let Some(reply) = outcome.reply {
            context.inject(true, &reply);
        }
        Ok(if outcome.allowed { Op::Pass(length) } else { Op::Drop(length) })
    }

    /// Requests in segments. A message that takes several is alone in them.
    fn segments(&mut self, context: &mut Context<'_>, data: &[u8]) -> Result<Op, Failure> {
        if let Some(length) = self.dropping.take() {
            return Ok(Op::Drop(length));
        }
        let compressed = self.compression.is_some();
        let first = match read(data, compressed)? {
            Ok(segment) => segment,
            Err(more) => return Ok(more),
        };
        let (mut payload, mut length) = (first.payload, first.length);
        if !first.self_contained {
            let missing = (ErrorCode::InvalidFrameLength, "a segment with a part of a header");
            let header = Header::read(&payload).ok_or(missing)?;
            if header.length > MAX_BODY {
                return Err((ErrorCode::InvalidFrameLength, "a body of over 268435456 bytes"));
            }
            while payload.len() < HEADER + header.length {
                match read(&data[length..], compressed)? {
                    Ok(segment) if segment.self_contained => {
                        return Err((ErrorCode::InvalidFrameType, "a segment amid the parts of another message"));
                    }
                    Ok(segment) => {
                        payload.extend_from_slice(&segment.payload);
                        length += segment.length;
                    }
                    Err(more) => return Ok(more),
                }
            }
        }
        let (mut allowed, mut denied, mut rest) = (Vec::new(), false, &payload[..]);
        while !rest.is_empty() {
            let header = Header::read(rest);
            let whole = header.and_then(|header| Some((header, rest.split_at_checked(HEADER + header.length)?)));
            let Some((header, (envelope, after))) = whole else {
                return Err((ErrorCode::InvalidFrameLength, "a segment with a part of an envelope"));
            };
            rest = after;
            let outcome = self.request(context, &header, &envelope[HEADER..])?;
            if let Some(reply) = outcome.reply.and_then(|reply| segment::write(&reply, compressed)) {
                if self.reply_rest > 0 {
                    self.held.extend_from_slice(&reply);
                } else {
                    context.inject(true, &reply);
                }
            }
            denied |= !outcome.allowed;
            if outcome.allowed {
                allowed.extend_from_slice(envelope);
            }
        }
        if !denied {
            return Ok(Op::Pass(length));
        }
        let Some(kept) = Some(allowed).filter(|allowed| !allowed.is_empty()) else { return Ok(Op::Drop(length)) };
        let too_long = (ErrorCode::InvalidFrameLength, "a segment whose rest does not fit one");
        let kept = segment::write(&kept, compressed).ok_or(too_long)?;
        self.dropping = Some(length);
        context.inject(false, &kept);
        Ok(Op::Inject(kept.len()))
    }

    fn reply(&mut self, data: &[u8]) -> Result<Op, Failure> {
        let Some(header) = Header::read(data) else { return Ok(Op::More(HEADER - data.len())) };
        if !header.reply || header.length > MAX_BODY {
            return Err((ErrorCode::InvalidFrameType, "a reply that is none"));
        }
        let length = HEADER + header.length;
        if self.known.waits_for(header.stream) {
            let Some(body) = data.get(HEADER..length) else { return Ok(Op::More(length - data.len())) };
            let body = self.body(&header, body)?;
            self.learn(&header, &body)?;
        }
        self.known.answered(header.stream);
        if self.framing == Framing::Starting(header.stream) {
            self.framing = match header.opcode {
                READY | AUTHENTICATE if header.version == 5 => Framing::Segments,
                _ => Framing::Envelopes,
            };
        }
        Ok(Op::Pass(length))
    }

    fn learn(&mut self, header: &Header, body: &[u8]) -> Result<(), Failure> {
        if header.opcode != RESULT {
            return Ok(());
        }
        self.known.learn(header, body).ok_or((ErrorCode::InvalidFrameType, "a malformed result"))
    }

    fn reply_segments(&mut self, context: &mut Context<'_>, data: &[u8]) -> Result<Op, Failure> {
        if self.reply_rest == 0 && !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            context.inject(true, &held);
            return Ok(Op::Inject(held.len()));
        }
        if data.is_empty() {
            return Ok(Op::Nop);
        }
        let segment = match read(data, self.compression.is_some())? {
            Ok(segment) => segment,
            Err(more) => return Ok(more),
        };
        let mut rest = &segment.payload[..];
        let continued = self.reply_rest.min(rest.len());
        self.reply_rest -= continued;
        rest = &rest[continued..];
        while !rest.is_empty() {
            let header =
                Header::read(rest).ok_or((ErrorCode::InvalidFrameLength, "a segment with a part of a header"))?;
            let body = &rest[HEADER..];
            let here = header.length.min(body.len());
            // What is looked at is at the start of a body, so the first of several segments has it.
            if self.known.waits_for(header.stream) {
                self.learn(&header, &body[..here])?;
            }
            self.known.answered(header.stream);
            self.reply_rest = header.length - here;
            rest = &body[here..];
        }
        Ok(Op::Pass(segment.length))
    }
}

/// The first segment, or what is missing of it.
fn read(data: &[u8], compressed: bool) -> Result<Result<segment::Segment, Op>, Failure> {
    match segment::read(data, compressed) {
        Ok(segment) => Ok(Ok(segment)),
        Err(NoSegment::Missing(count)) => Ok(Err(Op::More(count))),
        Err(NoSegment::Broken(why)) => Err((ErrorCode::InvalidFrameType, why)),
    }
}

/// The compression that a `STARTUP` asks for. `None` if it is malformed or asks for an unknown one.
#[expect(clippy::option_option, reason = "malformed, none, some")]
fn compression(body: &[u8]) -> Option<Option<Compression>> {
    let mut reader = Reader(body);
    let mut compression = None;
    for _ in 0..reader.short()? {
        let (name, value) = (reader.string()?, reader.string()?);
        if name.eq_ignore_ascii_case("compression") && !value.is_empty() {
            compression = Some(Compression::named(value)?);
        }
    }
    Some(compression)
}

/// Of a record. `TRUNCATE` without `TABLE` is written as the reference does, though it is matched as any statement with a table.
fn fields(statement: &Statement) -> [(&'static str, String); 2] {
    if statement.bare_truncate {
        return [("query_action", format!("truncate-{}", statement.table)), ("query_table", String::new())];
    }
    [("query_action", statement.action.clone()), ("query_table", statement.table.clone())]
}

impl Parser for Cassandra {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        let op = match (self.framing, reply) {
            (Framing::Segments, true) => self.reply_segments(context, data),
            (Framing::Segments, false) => self.segments(context, data),
            (_, true) => self.reply(data),
            (_, false) => self.envelope(context, data),
        };
        op.unwrap_or_else(|(code, reason)| context.fail(code, reason))
    }

    fn seed(&mut self, seed: &Seed<'_>) {
        let (Seed::Prepared { path, .. } | Seed::Preparing { path, .. }) = seed;
        let mut parts = path.split('/').skip(2).map(str::to_owned);
        let (Some(action), Some(table)) = (parts.next(), parts.next()) else { return };
        let run = vec![Statement { action, table, ..Statement::default() }];
        match seed {
            Seed::Prepared { id, .. } => self.known.prepare(id, run),
            Seed::Preparing { stream, .. } => self.known.preparing(stream.to_be_bytes(), run),
        }
    }
}
