//! Lines that a policy decides on, by how they start, what they contain and how they end.

use crate::op::Op;
use crate::parser::{Context, Parser};
use crate::record::{EntryType, L7};
use crate::request::{Decision, Request};
use crate::rules::Fields;
use crate::test_parsers::HEADER;
use crate::test_parsers::lines::line;

#[derive(Debug)]
pub(crate) struct Headers;

impl Parser for Headers {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        let Some(length) = line(data) else {
            return if data.is_empty() { Op::Nop } else { Op::More(1) };
        };
        let text = &data[..length];
        let decision = if reply { Decision::ALLOWED } else { context.decide(&Request::Header(text)) };
        let status = |status: &str| L7::generic(HEADER, [("status", status.to_owned())]);
        if decision.allowed {
            context.log(EntryType::Request, status("PASS"));
            return Op::Pass(length);
        }
        context.inject(true, &[b"Line dropped: ", text].concat());
        context.log_decision(&decision, status("DROP"));
        Op::Drop(length)
    }
}

/// Tests on a line without the white space around it. Empty: no test.
#[derive(Debug)]
pub(crate) struct HeaderRule {
    prefix: Vec<u8>,
    contains: Vec<u8>,
    suffix: Vec<u8>,
}

impl HeaderRule {
    pub(crate) fn compile(mut fields: Fields<'_>) -> Result<Self, String> {
        let mut take = |name| fields.take(name).as_bytes().to_vec();
        let rule = Self { prefix: take("prefix"), contains: take("contains"), suffix: take("suffix") };
        fields.finish()?;
        Ok(rule)
    }

    pub(crate) fn matches(&self, line: &[u8]) -> bool {
        let line = line.trim_ascii();
        line.starts_with(&self.prefix)
            && line.ends_with(&self.suffix)
            && (self.contains.is_empty() || line.windows(self.contains.len()).any(|window| window == self.contains))
    }
}
