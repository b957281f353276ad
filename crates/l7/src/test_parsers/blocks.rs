//! Blocks `LENGTH:text`, whose length counts all of the block. The text says what becomes of it, as in lines; `PASS` and `DROP`
//! need not wait for the end of the block.

use crate::op::{ErrorCode, Op};
use crate::parser::{Context, Parser};
use crate::record::{EntryType, L7};
use crate::test_parsers::BLOCK;

/// Longest number before the colon.
const MAX_DIGITS: usize = 19;

#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// Bytes of the block at hand that were inserted already.
    inserted: [usize; 2],
}

/// Length of the whole block, once the colon is there.
fn block_length(data: &[u8]) -> Result<Option<usize>, ()> {
    let Some(digits) = data.iter().position(|byte| *byte == b':') else {
        return if data.len() > MAX_DIGITS { Err(()) } else { Ok(None) };
    };
    if digits > MAX_DIGITS || !data[..digits].iter().all(u8::is_ascii_digit) {
        return Err(());
    }
    let length = std::str::from_utf8(&data[..digits]).ok().and_then(|text| text.parse::<usize>().ok()).ok_or(())?;
    if length <= digits { Err(()) } else { Ok(Some(length)) }
}

impl Parser for Blocks {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        let length = match block_length(data) {
            Ok(Some(length)) => length,
            Ok(None) => return if data.is_empty() { Op::Nop } else { Op::More(1) },
            Err(()) => return context.fail(ErrorCode::InvalidFrameLength, "a block without a sensible length"),
        };
        let block = &data[..length.min(data.len())];
        let inserted = &mut self.inserted[usize::from(reply)];
        if *inserted > 0 {
            if *inserted == length {
                *inserted = 0;
                return Op::Drop(length);
            }
            let more = context.inject(reply, &block[*inserted..]);
            *inserted += more;
            return Op::Inject(more);
        }
        let contains = |word: &[u8]| block.windows(word.len()).any(|window| window == word);
        let status = |status: &str| L7::generic(BLOCK, [("status", status.to_owned())]);
        if contains(b"PASS") {
            context.log(EntryType::Request, status("200"));
            return Op::Pass(length);
        }
        if contains(b"DROP") {
            context.log(EntryType::Denied, status("503"));
            return Op::Drop(length);
        }
        if block.len() < length {
            return Op::More(length - block.len());
        }
        if contains(b"INJECT") {
            context.inject(!reply, block);
            return Op::Drop(length);
        }
        if contains(b"INSERT") {
            let count = context.inject(reply, block);
            self.inserted[usize::from(reply)] = count;
            return Op::Inject(count);
        }
        context.fail(ErrorCode::InvalidFrameType, "a block without an operation")
    }
}
