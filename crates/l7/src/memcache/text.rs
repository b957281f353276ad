//! The text protocol.

mod reply;
mod request;

use crate::memcache::queue::Queue;
use crate::op::Op;

use request::Kind;
pub(crate) use request::length;

/// Longest key of memcached. Longer ones make it read a value as commands.
pub(crate) const MAX_KEY: usize = 250;
/// Longest line.
const MAX_LINE: usize = 64 << 10;
/// The answer to a denied request.
const DENIAL: &[u8] = b"CLIENT_ERROR access denied\r\n";
/// Asks the server for a mark among its replies.
const MARK: &[u8] = b"mn\r\n";
/// Name of the protocol in the access log.
const PROTO: &str = "textmemcached";

/// One connection of the text protocol.
#[derive(Debug, Default)]
pub(crate) struct Text {
    queue: Queue<Sent>,
    /// Length of the request at hand, which is denied, and for which a mark was asked.
    dropping: Option<usize>,
    /// Bytes of the reply at hand that were looked at and need not be again.
    scanned: usize,
    /// The start of the reply at hand was passed.
    partly_passed: bool,
}

/// A request that the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    command: &'static str,
    kind: Kind,
}

/// The first line.
enum Line<'a> {
    /// Without its end, and its length with it.
    Whole(&'a [u8], usize),
    Incomplete(Op),
    Bad(&'static str),
}

fn first_line(data: &[u8]) -> Line<'_> {
    let searched = &data[..data.len().min(MAX_LINE)];
    match searched.iter().position(|byte| *byte == b'\n') {
        // memcached takes a lone line feed too, but readers of its replies and the reference do not: no ambiguity is let through.
        Some(end) if end == 0 || data[end - 1] != b'\r' => Line::Bad("a line that ends without a carriage return"),
        Some(end) if data[..end].contains(&0) => Line::Bad("a line with a zero byte"),
        Some(end) => Line::Whole(&data[..end - 1], end + 1),
        None if data.len() >= MAX_LINE => Line::Bad("a line of over 65536 bytes"),
        None => Line::Incomplete(Op::More(if data.last() == Some(&b'\r') { 1 } else { 2 })),
    }
}

/// Words as memcached splits them: at spaces, and at nothing else.
fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect()
}
