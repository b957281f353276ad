//! Rules on memcache requests.

use regex::bytes::Regex;

use crate::memcache::commands::group;
use crate::memcache::{Command, Request};
use crate::rules::{Fields, regex};

/// `command` (or `opCode`) and one test on keys.
#[derive(Debug)]
pub(crate) struct KeyRule {
    /// `None`: any.
    commands: Option<Commands>,
    keys: Keys,
}

#[derive(Debug)]
struct Commands {
    text: &'static [&'static str],
    binary: Vec<u8>,
}

#[derive(Debug)]
enum Keys {
    Any,
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Regex(Regex),
}

impl KeyRule {
    pub(crate) fn compile(mut fields: Fields<'_>) -> Result<Self, String> {
        let (command, op_code) = (fields.take("command"), fields.take("opCode"));
        let (exact, prefix) = (fields.take("keyExact"), fields.take("keyPrefix"));
        let pattern = fields.take("keyRegex");
        fields.finish()?;
        if [exact, prefix, pattern].iter().filter(|test| !test.is_empty()).count() > 1 {
            return Err("only one of keyExact, keyPrefix and keyRegex can be set".into());
        }
        let keys = match (exact, prefix, regex("keyRegex", pattern)?) {
            (_, _, Some(regex)) => Keys::Regex(regex),
            ("", "", None) => Keys::Any,
            ("", prefix, None) => Keys::Prefix(prefix.into()),
            (exact, _, None) => Keys::Exact(exact.into()),
        };
        let commands = commands(command, op_code)?;
        if commands.is_none() && !matches!(keys, Keys::Any) {
            return Err("a rule on keys must name a command or an opCode".into());
        }
        Ok(Self { commands, keys })
    }

    /// All that the request does, to all its keys, is the rule's.
    pub(crate) fn allows(&self, request: &Request<'_>) -> bool {
        self.commands.as_ref().is_none_or(|commands| match request.command {
            Command::Text(names) => names.iter().all(|name| commands.text.contains(name)),
            Command::Binary(code) => commands.binary.contains(&code),
        }) && request.keys.iter().all(|key| self.fits(key))
    }

    /// Something that the request does, to one of its keys, is the rule's.
    pub(crate) fn denies(&self, request: &Request<'_>) -> bool {
        self.commands.as_ref().is_none_or(|commands| match request.command {
            Command::Text(names) => names.iter().any(|name| commands.text.contains(name)),
            Command::Binary(code) => commands.binary.contains(&code),
        }) && (matches!(self.keys, Keys::Any) || request.keys.iter().any(|key| self.fits(key)))
    }

    fn fits(&self, key: &[u8]) -> bool {
        match &self.keys {
            Keys::Any => true,
            Keys::Exact(exact) => exact == key,
            Keys::Prefix(prefix) => key.starts_with(prefix),
            Keys::Regex(regex) => regex.is_match(key),
        }
    }
}

/// One of the rules, or several together, allow each of the request's commands for each of its keys.
pub(crate) fn decide<'r>(rules: &(impl Iterator<Item = &'r KeyRule> + Clone), request: &Request<'_>) -> bool {
    request.parts().all(|part| rules.clone().any(|rule| rule.allows(&part)))
}

fn commands(command: &str, op_code: &str) -> Result<Option<Commands>, String> {
    let name = match (command, op_code) {
        ("", "") => return Ok(None),
        (name, "") => name,
        ("", code) => {
            if let Ok(code) = code.parse() {
                return Ok(Some(Commands { text: &[], binary: vec![code] }));
            }
            code
        }
        _ => return Err("command and opCode say the same, only one can be set".into()),
    };
    match group(name) {
        Some((text, binary)) => Ok(Some(Commands { text, binary: binary.to_vec() })),
        None => Err(format!("{name:?} is not a memcache command, an opcode or a group of commands")),
    }
}
