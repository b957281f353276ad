//! memcache: the text protocol with its meta commands, and the binary protocol. The first byte of a connection tells which.
//!
//! Denied requests are answered in the order of the requests. Where a quiet request makes it unknowable which replies will come, the
//! server is asked for a mark: the denied request is replaced by a no-op, and the no-op's reply by the denial.

mod binary;
mod commands;
mod meta;
mod queue;
mod rules;
#[cfg(test)]
mod tests;
mod text;

use crate::op::Op;
use crate::parser::{Context, Parser};

pub(crate) use rules::{KeyRule, decide};

/// The parser's name.
pub const NAME: &str = "memcache";

/// What a request does, to which keys.
#[derive(Debug)]
pub struct Request<'a> {
    /// All of it must be allowed.
    pub command: Command<'a>,
    /// Empty if the command has none.
    pub keys: Vec<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Each command for each key.
    fn parts(&self) -> impl Iterator<Item = Request<'a>> {
        let commands = match self.command {
            Command::Text(names) => names.chunks(1).map(Command::Text).collect(),
            Command::Binary(code) => vec![Command::Binary(code)],
        };
        commands.into_iter().flat_map(|command| {
            let keys = if self.keys.is_empty() { vec![&[][..]] } else { self.keys.chunks(1).collect() };
            keys.into_iter().map(move |keys| Request { command, keys: keys.to_vec() })
        })
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy)]
pub enum Command<'a> {
    /// Commands of the text protocol. A meta command is the classic ones it amounts to; `mn` is none.
    Text(&'a [&'static str]),
    /// An opcode of the binary protocol.
    Binary(u8),
}

/// The parser of one connection.
#[derive(Debug, Default)]
pub(crate) enum Memcache {
    #[default]
    Unknown,
    Text(text::Text),
    Binary(binary::Binary),
}

impl Parser for Memcache {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        if let Self::Unknown = self {
            match data.first() {
                None => return Op::Nop,
                Some(128..) => *self = Self::Binary(binary::Binary::default()),
                Some(_) => *self = Self::Text(text::Text::default()),
            }
        }
        match self {
            Self::Unknown => Op::Nop,
            Self::Text(text) if reply => text.reply(context, data),
            Self::Text(text) => text.request(context, data),
            Self::Binary(binary) if reply => binary.reply(context, data),
            Self::Binary(binary) => binary.request(context, data),
        }
    }
}
