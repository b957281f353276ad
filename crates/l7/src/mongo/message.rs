//! Messages: their documents, and what they do.

use std::io::Read;

use bson::RawDocument;

use crate::metadata::Resources;
use crate::mongo::document::{Command, bulk_write, command, name};

/// Bytes of a message up to its body.
pub(crate) const HEADER: usize = 16;
/// Longest message, by the protocol; also when decompressed.
pub(crate) const MAX_MESSAGE: usize = 48_000_000;
/// Longest document, with room for a command around one of a user's.
const MAX_DOCUMENT: usize = (16 << 20) + (16 << 10);
/// Bytes of a section up to the end of the longest of [`SEQUENCES`].
const SECTION_HEAD: usize = 1 + 4 + 10;

pub(crate) const OP_REPLY: i32 = 1;
const OP_UPDATE: i32 = 2001;
const OP_INSERT: i32 = 2002;
const OP_QUERY: i32 = 2004;
const OP_GET_MORE: i32 = 2005;
const OP_DELETE: i32 = 2006;
const OP_KILL_CURSORS: i32 = 2007;
const OP_COMPRESSED: i32 = 2012;
pub(crate) const OP_MSG: i32 = 2013;

const CHECKSUM: i32 = 1;
const MORE_TO_COME: i32 = 2;

/// Names of sequences with the data of a command. Some servers take a sequence of another name for a field of the command.
const SEQUENCES: &[&[u8]] = &[b"documents\0", b"updates\0", b"deletes\0"];

/// A request, understood.
pub(crate) struct Message {
    pub(crate) command: Command,
    /// Operation code of the reply; `None` if there is none.
    pub(crate) reply: Option<i32>,
}

/// What the start of an `OP_MSG` tells.
pub(crate) enum Start {
    /// So many bytes of the message are not enough.
    More(usize),
    /// All of it must be seen.
    Whole,
    /// What follows is data, section by section.
    Known(Message, Rest),
}

/// Sections of a message that are left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest {
    /// Bytes, with the checksum.
    length: usize,
    checksum: usize,
}

pub(crate) fn int(data: &[u8], at: usize) -> Option<i32> {
    data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes)
}

/// A length that counts its own four bytes.
fn length(data: &[u8]) -> Option<usize> {
    usize::try_from(int(data, 0)?).ok().filter(|length| *length >= 4)
}

/// A text that ends with a zero byte, and what follows.
fn cstring(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&data[..end]).ok()?, &data[end + 1..]))
}

/// The first document, and what follows.
fn document(data: &[u8]) -> Option<(&RawDocument, &[u8])> {
    let (document, rest) = data.split_at_checked(length(data)?)?;
    Some((RawDocument::from_bytes(document).ok()?, rest))
}

fn documents(mut data: &[u8]) -> Option<Vec<&RawDocument>> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let (first, rest) = document(data)?;
        found.push(first);
        data = rest;
    }
    Some(found)
}

fn decompress(body: &[u8]) -> Option<(i32, Vec<u8>)> {
    let (code, size) = (int(body, 0)?, usize::try_from(int(body, 4)?).ok()?);
    let (compressor, data) = (body.get(8)?, body.get(9..)?);
    if size > MAX_MESSAGE {
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
    let flags = int(body, 0)?;
    let mut rest = body.get(4..body.len().checked_sub(checksum(flags))?)?;
    let (mut main, mut operations, mut namespaces) = (None, None, None);
    while let Some((kind, section)) = rest.split_first() {
        match kind {
            0 if main.is_none() => {
                let (found, after) = document(section)?;
                main = Some(found);
                rest = after;
            }
            1 => {
                let (sequence, after) = section.split_at_checked(length(section)?)?;
                let (name, data) = cstring(&sequence[4..])?;
                match name {
                    "ops" if operations.is_none() => operations = Some(documents(data)?),
                    "nsInfo" if namespaces.is_none() => namespaces = Some(documents(data)?),
                    _ if SEQUENCES.iter().any(|known| sequence[4..].starts_with(known)) => {}
                    _ => return None,
                }
                rest = after;
            }
            _ => return None,
        }
    }
    let main = main?;
    let command = match (name(main)?, operations, namespaces) {
        ("bulkWrite", Some(operations), Some(namespaces)) => bulk_write(&operations, &namespaces)?,
        (_, None, None) => command(main, None)?,
        _ => return None,
    };
    Some(Message { command, reply: answer(flags) })
}

fn checksum(flags: i32) -> usize {
    if flags & CHECKSUM == 0 { 0 } else { 4 }
}

fn answer(flags: i32) -> Option<i32> {
    (flags & MORE_TO_COME == 0).then_some(OP_MSG)
}

/// Reads the start of an `OP_MSG` of so many bytes. `None` if it is malformed.
pub(crate) fn start(data: &[u8], message: usize) -> Option<Start> {
    const BEFORE: usize = HEADER + 4 + 1;
    let Some(kind) = data.get(BEFORE - 1) else { return Some(Start::More(BEFORE)) };
    if *kind != 0 {
        return Some(Start::Whole);
    }
    if data.len() < BEFORE + 4 {
        return Some(Start::More(BEFORE + 4));
    }
    let end = length(&data[BEFORE..]).filter(|length| *length <= MAX_DOCUMENT)? + BEFORE;
    let checksum = checksum(int(data, HEADER)?);
    let rest = Rest { length: message.checked_sub(end).filter(|rest| *rest >= checksum)?, checksum };
    let Some(main) = data.get(BEFORE..end) else { return Some(Start::More(end)) };
    let main = document(main)?.0;
    if name(main)? == "bulkWrite" {
        return Some(Start::Whole);
    }
    let message = Message { command: command(main, None)?, reply: answer(int(data, HEADER)?) };
    Some(Start::Known(message, rest))
}

impl Rest {
    /// Nothing is left.
    pub(crate) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Bytes of a message before these.
    pub(crate) fn before(self, message: usize) -> usize {
        message - self.length
    }

    /// Bytes needed to know the next section.
    pub(crate) fn needed(self) -> usize {
        SECTION_HEAD.min(self.length)
    }

    /// Takes the next section, and the checksum; how long they are. `None` if the section is not data.
    pub(crate) fn take(&mut self, head: &[u8]) -> Option<usize> {
        if self.length == self.checksum {
            self.length = 0;
            return Some(self.checksum);
        }
        let (kind, section) = head.split_first()?;
        let length = 1 + length(section)?;
        let known = *kind == 1 && SEQUENCES.iter().any(|known| section[4..].starts_with(known));
        self.length = self.length.checked_sub(length).filter(|rest| known && *rest >= self.checksum)?;
        Some(length)
    }
}

fn old(name: &str, operation: &str, reply: Option<i32>) -> Message {
    let collections = Resources::one(name, operation);
    Message { command: Command { collections, session: false }, reply }
}

/// Reads a message. `None` if it is malformed or of an unknown kind.
pub(crate) fn message(code: i32, body: &[u8]) -> Option<Message> {
    match code {
        OP_COMPRESSED => decompress(body).and_then(|(code, body)| plain(code, &body)),
        code => plain(code, body),
    }
}

fn plain(code: i32, body: &[u8]) -> Option<Message> {
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
        OP_KILL_CURSORS => Message { command: Command { session: true, ..Command::default() }, reply: None },
        _ => return None,
    })
}
