//! Lines that start with what becomes of them: `PASS`, `DROP`, `INJECT` (into the other direction) or `INSERT` (into this one).

use crate::op::{ErrorCode, Op};
use crate::parser::{Context, Parser};

#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The line at hand was inserted and is yet to be dropped.
    inserted: [bool; 2],
}

/// Length of the first line with its line feed.
pub(crate) fn line(data: &[u8]) -> Option<usize> {
    data.iter().position(|byte| *byte == b'\n').map(|index| index + 1)
}

impl Parser for Lines {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        let Some(length) = line(data) else {
            return if data.is_empty() { Op::Nop } else { Op::More(1) };
        };
        if std::mem::take(&mut self.inserted[usize::from(reply)]) {
            return Op::Drop(length);
        }
        let text = &data[..length];
        if text.starts_with(b"PASS") {
            return Op::Pass(length);
        }
        if text.starts_with(b"DROP") {
            return Op::Drop(length);
        }
        if text.starts_with(b"INJECT") {
            context.inject(!reply, text);
            return Op::Drop(length);
        }
        if text.starts_with(b"INSERT") {
            context.inject(reply, text);
            self.inserted[usize::from(reply)] = true;
            return Op::Inject(length);
        }
        context.fail(ErrorCode::InvalidFrameType, "a line without an operation")
    }
}
