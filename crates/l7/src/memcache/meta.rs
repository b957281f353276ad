//! Meta commands: what they amount to in classic commands.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A meta command other than `mn`.
pub(crate) struct Meta {
    pub(crate) commands: &'static [&'static str],
    pub(crate) key: Vec<u8>,
    /// Some replies are left out.
    pub(crate) quiet: bool,
    /// Length of the value that follows the line, without its line end.
    pub(crate) value: Option<usize>,
}

/// Most words. memcached refuses somewhat more, before it knows of the value, which then is commands to it.
const MAX_WORDS: usize = 16;

/// Reads the words of a meta command. `None` if it is malformed.
pub(crate) fn parse(words: &[&[u8]]) -> Option<Meta> {
    if words.len() > MAX_WORDS {
        return None;
    }
    let (name, key) = (*words.first()?, *words.get(1)?);
    let (value, flags) = match name {
        b"ms" => (Some(super::text::length(words.get(2)?)?), &words[3..]),
        _ => (None, &words[2..]),
    };
    let has = |flag: u8| flags.iter().any(|word| word.first() == Some(&flag));
    let mode = || {
        let mut modes = flags.iter().filter(|word| word.first() == Some(&b'M'));
        match (modes.next(), modes.next()) {
            (None, _) => Some(None),
            (Some(mode), None) => mode.get(1).map(|mode| Some(mode.to_ascii_uppercase())),
            (Some(_), Some(_)) => None,
        }
    };
    let commands: &'static [&'static str] = match name {
        b"mg" => match (has(b'N'), has(b'T')) {
            (false, false) => &["get"],
            (false, true) => &["gat"],
            (true, false) => &["get", "add"],
            (true, true) => &["gat", "add"],
        },
        b"me" => &["get"],
        b"md" => &["delete"],
        b"ma" => match (mode()?, has(b'N')) {
            (None | Some(b'I' | b'+'), false) => &["incr"],
            (None | Some(b'I' | b'+'), true) => &["incr", "add"],
            (Some(b'D' | b'-'), false) => &["decr"],
            (Some(b'D' | b'-'), true) => &["decr", "add"],
            _ => return None,
        },
        b"ms" => match (mode()?, has(b'C'), has(b'N')) {
            (Some(b'S') | None, false, _) => &["set"],
            (Some(b'S') | None, true, _) => &["cas"],
            (Some(b'E'), _, _) => &["add"],
            (Some(b'A'), _, false) => &["append"],
            (Some(b'A'), _, true) => &["append", "add"],
            (Some(b'P'), _, false) => &["prepend"],
            (Some(b'P'), _, true) => &["prepend", "add"],
            (Some(b'R'), _, _) => &["replace"],
            _ => return None,
        },
        _ => return None,
    };
    let key = if has(b'b') { STANDARD.decode(key).ok()? } else { key.to_vec() };
    (key.len() <= super::text::MAX_KEY).then_some(Meta { commands, key, quiet: has(b'q'), value })
}
