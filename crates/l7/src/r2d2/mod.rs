//! r2d2, the protocol of Cilium's tutorial: lines of `READ file`, `WRITE file`, `HALT` or `RESET`, each answered by one line.

mod rules;
#[cfg(test)]
mod tests;

use crate::op::{ErrorCode, Op};
use crate::parser::{Context, Parser};
use crate::record::L7;
use crate::request::Request;

pub(crate) use rules::CommandRule;

/// The parser's name.
pub const NAME: &str = "r2d2";
/// The answer to a denied command.
const DENIAL: &[u8] = b"ERROR\r\n";
/// Longest line.
const MAX_LINE: usize = 64 << 10;

/// A command and its file; empty if it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// As the client wrote it.
    pub name: &'a [u8],
    /// Empty unless exactly one follows the command.
    pub file: &'a [u8],
}

/// The parser of one connection. Keeps nothing: the protocol has no pipelining, so denials are answered at once.
#[derive(Debug)]
pub(crate) struct R2d2;

impl Parser for R2d2 {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        let Some(length) = data.windows(2).position(|pair| pair == b"\r\n") else {
            if data.len() > MAX_LINE {
                return context.fail(ErrorCode::InvalidFrameLength, format!("a line of over {MAX_LINE} bytes"));
            }
            return Op::More(1);
        };
        let frame = length + 2;
        if reply {
            return Op::Pass(frame);
        }
        let mut words = data[..length].split(|byte| *byte == b' ');
        let (name, file, more) = (words.next(), words.next(), words.next());
        let file = if more.is_some() { None } else { file };
        let command = Command { name: name.unwrap_or_default(), file: file.unwrap_or_default() };
        let decision = context.decide(&Request::R2d2(&command));
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let fields = [("cmd", text(command.name)), ("file", text(command.file))];
        context.log_decision(&decision, L7::generic(NAME, fields));
        if decision.allowed {
            return Op::Pass(frame);
        }
        context.inject(true, DENIAL);
        Op::Drop(frame)
    }
}
