//! Gives way to whatever the client sends: for what becomes of a parser that panics.

use crate::op::Op;
use crate::parser::{Context, Parser};

#[derive(Debug)]
pub(crate) struct Panics;

impl Parser for Panics {
    fn on_data(&mut self, _context: &mut Context<'_>, reply: bool, end_stream: bool, data: &[u8]) -> Op {
        assert!(
            reply,
            "PanicParser OnData(reply={reply}, endStream={end_stream}, data=[[{}]]) panicing...",
            data.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")
        );
        Op::Nop
    }
}
