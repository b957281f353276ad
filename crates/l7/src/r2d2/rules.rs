//! Rules on r2d2 commands.

use regex::bytes::Regex;

use crate::r2d2::Command;
use crate::rules::{Fields, regex};

/// `cmd` is the command, `file` a regular expression found in the file's name.
#[derive(Debug)]
pub(crate) struct CommandRule {
    cmd: String,
    file: Option<Regex>,
}

impl CommandRule {
    pub(crate) fn compile(mut fields: Fields<'_>) -> Result<Self, String> {
        let cmd = fields.take("cmd").to_owned();
        let file = fields.take("file");
        fields.finish()?;
        if !matches!(&*cmd, "" | "READ" | "WRITE" | "HALT" | "RESET") {
            return Err(format!("cmd {cmd:?} is not READ, WRITE, HALT or RESET"));
        }
        if !file.is_empty() && matches!(&*cmd, "HALT" | "RESET") {
            return Err(format!("cmd {cmd} has no file, so the rule may not name one"));
        }
        Ok(Self { cmd, file: regex("file", file)? })
    }

    pub(crate) fn matches(&self, command: &Command<'_>) -> bool {
        (self.cmd.is_empty() || self.cmd.as_bytes() == command.name)
            && self.file.as_ref().is_none_or(|file| file.is_match(command.file))
    }
}
