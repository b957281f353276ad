//! Replies of the text protocol.

use crate::memcache::queue::Owed;
use crate::memcache::text::request::{Kind, length};
use crate::memcache::text::{Line, PROTO, Sent, Text, first_line, words};
use crate::op::{ErrorCode, Op};
use crate::parser::Context;
use crate::record::{EntryType, L7};

/// Replies of more bytes than this are passed in parts.
const STREAM: usize = 64 << 10;

fn is_error(word: &[u8]) -> bool {
    matches!(word, b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR")
}

fn is_meta(word: &[u8]) -> bool {
    matches!(word, b"HD" | b"VA" | b"EN" | b"NF" | b"NS" | b"EX" | b"ME")
}

/// Length of a reply to a meta command.
fn meta_length(words: &[&[u8]], end: usize) -> Option<usize> {
    match words.first() {
        Some(&b"VA") => Some(end + length(words.get(1)?)? + 2),
        _ => Some(end),
    }
}

impl Text {
    pub(crate) fn reply(&mut self, context: &mut Context<'_>, data: &[u8]) -> Op {
        let denials = self.queue.take_denials();
        if !denials.is_empty() {
            context.inject(true, &denials);
            return Op::Inject(denials.len());
        }
        if data.is_empty() {
            return Op::Nop;
        }
        let (line, end) = match first_line(data) {
            Line::Whole(line, end) => (line, end),
            Line::Incomplete(more) => return more,
            Line::Bad(why) => return context.fail(ErrorCode::Unspecified, why),
        };
        let words = words(line);
        let first = *words.first().unwrap_or(&b"".as_slice());
        if first == b"MN" && matches!(self.queue.front(), Some(Owed::Quiet)) {
            self.queue.pop();
        }
        match self.queue.front() {
            Some(Owed::Quiet) if is_meta(first) || is_error(first) => match meta_length(&words, end) {
                Some(frame) => Op::Pass(frame),
                None => context.fail(ErrorCode::Unspecified, "a value without a length"),
            },
            Some(Owed::Mark) if first == b"MN" || is_error(first) => {
                self.queue.pop();
                Op::Pass(end)
            }
            Some(Owed::OwnMark(_)) if first == b"MN" || is_error(first) => {
                if let Some(Owed::OwnMark(denial)) = self.queue.pop()
                    && !denial.is_empty()
                {
                    self.queue.push_front(Owed::Denial(denial));
                }
                Op::Drop(end)
            }
            Some(Owed::Reply(sent)) => {
                let sent = sent.clone();
                self.answer(context, &sent, data, &words, end)
            }
            Some(_) => context.fail(ErrorCode::Unspecified, "a reply that is not to the request"),
            None => context.fail(ErrorCode::Unspecified, "a reply without a request"),
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, sent: &Sent, data: &[u8], words: &[&[u8]], end: usize) -> Op {
        let first = *words.first().unwrap_or(&b"".as_slice());
        let frame = match sent.kind {
            Kind::Watch => return Op::Pass(end),
            Kind::Line => Some(end),
            Kind::Meta => match meta_length(words, end) {
                Some(frame) => Some(frame),
                None => return context.fail(ErrorCode::Unspecified, "a value without a length"),
            },
            Kind::Lines | Kind::Values if is_error(first) => Some(end),
            Kind::Lines if matches!(first, b"OK" | b"BUSY" | b"BADCLASS" | b"RESET") => Some(end),
            Kind::Lines | Kind::Values => match self.scan(sent.kind, data) {
                Ok(frame) => frame,
                Err(why) => return context.fail(ErrorCode::Unspecified, why),
            },
        };
        let Some(frame) = frame else { return self.part(data) };
        self.queue.pop();
        self.scanned = 0;
        self.partly_passed = false;
        context.log(EntryType::Response, L7::generic(PROTO, [("command", sent.command.to_owned())]));
        Op::Pass(frame)
    }

    /// Looks for the end line; returns the reply's length if it is there.
    fn scan(&mut self, kind: Kind, data: &[u8]) -> Result<Option<usize>, &'static str> {
        loop {
            let rest = data.get(self.scanned..).unwrap_or_default();
            let (line, end) = match first_line(rest) {
                Line::Whole(line, end) => (line, end),
                Line::Incomplete(_) => return Ok(None),
                Line::Bad(why) => return Err(why),
            };
            let words = words(line);
            let mut next = self.scanned + end;
            match words.first() {
                Some(&b"END") => return Ok(Some(next)),
                Some(&b"EN") if kind == Kind::Lines => return Ok(Some(next)),
                Some(&b"VALUE") if kind == Kind::Values => {
                    next += words.get(3).and_then(|word| length(word)).ok_or("a value without a length")? + 2;
                }
                Some(word) if kind == Kind::Values && !is_error(word) => return Err("a line that is not a value"),
                Some(_) if kind == Kind::Values => return Ok(Some(next)),
                _ => {}
            }
            self.scanned = next;
            if next > data.len() {
                return Ok(None);
            }
        }
    }

    /// What to do with a reply whose end is not there.
    fn part(&mut self, data: &[u8]) -> Op {
        if self.scanned > 0 && self.scanned.max(data.len()) > STREAM {
            self.partly_passed = true;
            return Op::Pass(std::mem::take(&mut self.scanned));
        }
        Op::More(1)
    }
}
