//! The parser of one `MongoDB` connection.

use std::io::Read;

use bson::{RawDocument, rawdoc};

use crate::metadata::{self, Resources};
use crate::mongo::NAME;
use crate::mongo::document::{Command, command};
use crate::op::{ErrorCode, Op};
use crate::parser::{Context, Parser};

const HEADER: usize = 16;
/// Longest message, by the protocol; also when decompressed.
const MAX_MESSAGE: usize = 48_000_000;
/// Most bytes of a decompressed message.
const MAX_DECOMPRESSED: usize = 16 << 20;

const OP_REPLY: i32 = 1;
const OP_UPDATE: i32 = 2001;
const OP_INSERT: i32 = 2002;
const OP_QUERY: i32 = 2004;
const OP_GET_MORE: i32 = 2005;
const OP_DELETE: i32 = 2006;
const OP_KILL_CURSORS: i32 = 2007;
const OP_COMPRESSED: i32 = 2012;
const OP_MSG: i32 = 2013;

/// The parser of one connection. Keeps nothing: replies carry the number of their request.
#[derive(Debug)]
pub(crate) struct Mongo;

/// A request, understood.
struct Message {
    command: Command,
    /// Operation code of the reply; `None` if there is none.
    reply: Option<i32>,
}

fn int(data: &[u8], at: usize) -> Option<i32> {
    data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes)
}

/// A text that ends with a zero byte, and what follows.
fn cstring(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&data[..end]).ok()?, &data[end + 1..]))
}

/// The first document, and what follows.
fn document(data: &[u8]) -> Option<(&RawDocument, &[u8])> {
    let length = usize::try_from(int(data, 0)?).ok()?;
    let (document, rest) = data.split_at_checked(length)?;
    Some((RawDocument::from_bytes(document).ok()?, rest))
}

fn decompress(body: &[u8]) -> Option<(i32, Vec<u8>)> {
    let (code, size) = (int(body, 0)?, usize::try_from(int(body, 4)?).ok()?);
    let (compressor, data) = (body.get(8)?, body.get(9..)?);
    if size > MAX_DECOMPRESSED {
        return None;
    }
    let mut plain = Vec::new();
    let most = size as u64 + 1;
    match compressor {
        0 => plain.extend_from_slice(data),
        1 if snap::raw::decompress_len(data).ok()? == size => {
            plain = snap::raw::Decoder::new().decompress_vec(data).ok()?;
        }
        2 => {
            let _ = flate2::read::ZlibDecoder::new(data).take(most).read_to_end(&mut plain).ok()?;
        }
        3 => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(data).ok()?;
            decoder.take(most).read_to_end(&mut plain).ok()?;
        }
        _ => return None,
    }
    (plain.len() == size).then_some((code, plain))
}

/// `OP_MSG`: flags, sections, maybe a checksum.
fn op_msg(body: &[u8]) -> Option<Message> {
    const CHECKSUM: i32 = 1;
    const MORE_TO_COME: i32 = 2;
    let flags = int(body, 0)?;
    let mut rest = body.get(4..)?;
    if flags & CHECKSUM != 0 {
        rest = rest.get(..rest.len().checked_sub(4)?)?;
    }
    let mut main = None;
    let mut namespaces = Vec::new();
    while let Some((kind, section)) = rest.split_first() {
        match kind {
            0 if main.is_none() => {
                let (found, after) = document(section)?;
                main = Some(found);
                rest = after;
            }
            1 => {
                let length = usize::try_from(int(section, 0)?).ok()?;
                let (sequence, after) = section.split_at_checked(length)?;
                let (name, mut documents) = cstring(sequence.get(4..)?)?;
                while name == "nsInfo" && !documents.is_empty() {
                    let (namespace, others) = document(documents)?;
                    namespaces.push(namespace.get_str("ns").ok()?.to_owned());
                    documents = others;
                }
                rest = after;
            }
            _ => return None,
        }
    }
    let main = main?;
    let command = match main.iter().next()?.ok()?.0.as_str() {
        "bulkWrite" if !namespaces.is_empty() => {
            let operations = ["insert", "update", "delete", "bulkWrite"].map(str::to_owned).to_vec();
            let collections = namespaces.into_iter().map(|name| (name, operations.clone())).collect();
            Command { collections, handshake: false }
        }
        _ => command(main, None)?,
    };
    Some(Message { command, reply: (flags & MORE_TO_COME == 0).then_some(OP_MSG) })
}

fn old(name: &str, operation: &str, reply: Option<i32>) -> Message {
    let collections = Resources::from([(name.to_owned(), vec![operation.to_owned()])]);
    Message { command: Command { collections, handshake: false }, reply }
}

fn message(code: i32, body: &[u8]) -> Option<Message> {
    Some(match code {
        OP_MSG => op_msg(body)?,
        OP_QUERY => {
            let (name, rest) = cstring(body.get(4..)?)?;
            let (query, _) = document(rest.get(8..)?)?;
            match name.strip_suffix(".$cmd") {
                Some(database) => Message { command: command(query, Some(database))?, reply: Some(OP_REPLY) },
                None => old(name, "query", Some(OP_REPLY)),
            }
        }
        OP_GET_MORE => old(cstring(body.get(4..)?)?.0, "query", Some(OP_REPLY)),
        OP_INSERT => old(cstring(body.get(4..)?)?.0, "insert", None),
        OP_UPDATE => old(cstring(body.get(4..)?)?.0, "update", None),
        OP_DELETE => old(cstring(body.get(4..)?)?.0, "delete", None),
        // It names cursors, not collections, and only ends them.
        OP_KILL_CURSORS => Message { command: Command { collections: Resources::new(), handshake: true }, reply: None },
        _ => return None,
    })
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

impl Parser for Mongo {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        if data.is_empty() {
            return Op::Nop;
        }
        let (Some(length), Some(request), Some(code)) = (int(data, 0), int(data, 4), int(data, 12)) else {
            return Op::More(HEADER - data.len());
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| (HEADER..=MAX_MESSAGE).contains(length)) else {
            return context.fail(ErrorCode::InvalidFrameLength, format!("a message of {length} bytes"));
        };
        if reply {
            return Op::Pass(length);
        }
        let Some(body) = data.get(HEADER..length) else { return Op::More(length - data.len()) };
        let message = match code {
            OP_COMPRESSED => decompress(body).and_then(|(code, body)| message(code, &body)),
            code => message(code, body),
        };
        let Some(Message { command, reply }) = message else {
            return context.fail(ErrorCode::InvalidFrameType, "a message that is malformed or of an unknown kind");
        };
        if command.handshake {
            return Op::Pass(length);
        }
        if metadata::ask(context, NAME, "collections", command.collections).allowed {
            return Op::Pass(length);
        }
        if let Some(code) = reply {
            context.inject(true, &denial(code, request));
        }
        Op::Drop(length)
    }
}
