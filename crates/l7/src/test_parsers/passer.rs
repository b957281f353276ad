//! Everything passes.

use crate::op::Op;
use crate::parser::{Context, Parser};

#[derive(Debug)]
pub(crate) struct Passer;

impl Parser for Passer {
    fn on_data(&mut self, _context: &mut Context<'_>, _reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        if data.is_empty() { Op::Nop } else { Op::Pass(data.len()) }
    }
}
