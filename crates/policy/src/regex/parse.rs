//! Parses expressions as RE2 does with its default options.

use std::iter::Peekable;
use std::str::Chars;

use regex_syntax::hir::{Hir, Look, Repetition};

use crate::regex::charset::{CharSet, MAX, bytes};
use crate::regex::{MAX_NESTING, groups};

/// Largest count of a repetition, also of nested ones taken together.
const MAX_REPEAT: u32 = 1000;

type Result<T> = std::result::Result<T, String>;

/// Parses a whole expression.
pub(super) fn parse(pattern: &str) -> Result<Hir> {
    let mut parser = Parser { rest: pattern, flags: Flags::default(), depth: 0 };
    let node = parser.alternation()?;
    match parser.rest.chars().next() {
        None => Ok(node.hir),
        Some(_) => Err("unexpected )".to_owned()),
    }
}

struct Parser<'p> {
    rest: &'p str,
    flags: Flags,
    depth: usize,
}

/// Set by `(?ims)`. Greediness does not change whether a whole value matches.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
}

/// A parsed part, with the product of the counts nested in it.
struct Node {
    hir: Hir,
    repeats: u32,
}

impl Node {
    fn plain(hir: Hir) -> Self {
        Self { hir, repeats: 1 }
    }
}

impl<'p> Parser<'p> {
    /// Up to the end or a closing parenthesis.
    fn alternation(&mut self) -> Result<Node> {
        let mut branches = Vec::new();
        let mut repeats = 1;
        loop {
            let branch = self.concatenation()?;
            repeats = repeats.max(branch.repeats);
            branches.push(branch.hir);
            if !self.take("|") {
                return Ok(Node { hir: Hir::alternation(branches), repeats });
            }
        }
    }

    fn concatenation(&mut self) -> Result<Node> {
        let mut parts: Vec<Node> = Vec::new();
        // A repetition of a repetition needs a group.
        let mut after_repetition = None;
        while let Some(c) = self.rest.chars().next() {
            if c == '|' || c == ')' {
                break;
            }
            let before = self.rest;
            if let Some((min, max)) = self.repetition()? {
                self.take("?");
                let operator = &before[..before.len() - self.rest.len()];
                if let Some(previous) = after_repetition {
                    return Err(format!("bad repetition operator: {previous}{operator}"));
                }
                let Some(part) = parts.pop() else {
                    return Err(format!("no argument for repetition operator: {operator}"));
                };
                parts.push(repeat(part, min, max, operator)?);
                after_repetition = Some(operator);
                continue;
            }
            after_repetition = None;
            self.element(c, &mut parts)?;
        }
        let repeats = parts.iter().map(|part| part.repeats).max().unwrap_or(1);
        Ok(Node { hir: Hir::concat(parts.into_iter().map(|part| part.hir).collect()), repeats })
    }

    /// `*`, `+`, `?` or a count in braces. Braces that hold no count are literal.
    fn repetition(&mut self) -> Result<Option<(u32, Option<u32>)>> {
        for (operator, counts) in [("*", (0, None)), ("+", (1, None)), ("?", (0, Some(1)))] {
            if self.take(operator) {
                return Ok(Some(counts));
            }
        }
        let Some((counts, rest)) = self.rest.strip_prefix('{').and_then(counts) else { return Ok(None) };
        let operator = &self.rest[..self.rest.len() - rest.len()];
        let (min, max) = counts;
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err(format!("invalid repetition size: {operator}"));
        }
        self.rest = rest;
        Ok(Some(counts))
    }

    /// Anything but a repetition. `\Q...\E` may be many parts, or none.
    fn element(&mut self, c: char, parts: &mut Vec<Node>) -> Result<()> {
        let hir = match c {
            '(' => {
                if let Some(node) = self.group()? {
                    parts.push(node);
                }
                return Ok(());
            }
            '[' => self.class()?,
            '\\' => return self.backslash(parts),
            '.' => {
                self.advance();
                let mut set = if self.flags.dot_newline { CharSet::default() } else { single('\n') };
                set.negate();
                set.to_hir()
            }
            '^' => {
                self.advance();
                Hir::look(if self.flags.multi_line { Look::StartLF } else { Look::Start })
            }
            '$' => {
                self.advance();
                Hir::look(if self.flags.multi_line { Look::EndLF } else { Look::End })
            }
            c => {
                self.advance();
                self.literal(c.into())?
            }
        };
        parts.push(Node::plain(hir));
        Ok(())
    }

    fn literal(&self, code: u32) -> Result<Hir> {
        let mut set = CharSet::of(&[(code, code)]);
        if self.flags.fold_case {
            set.fold_case()?;
        }
        Ok(set.to_hir())
    }

    /// A group, or `None` for flags that hold up to the end of the group they are in.
    fn group(&mut self) -> Result<Option<Node>> {
        let outer = self.flags;
        let start = self.rest;
        self.advance();
        if self.take("?") {
            if self.rest.starts_with('P') || self.rest.starts_with('<') {
                self.name(start)?;
            } else if self.group_flags(start)? {
                return Ok(None);
            }
        }
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(format!("more than {MAX_NESTING} groups inside each other"));
        }
        let node = self.alternation()?;
        if !self.take(")") {
            return Err("missing )".to_owned());
        }
        self.depth -= 1;
        self.flags = outer;
        Ok(Some(node))
    }

    /// `P<name>` or `<name>`. RE2 lets groups share a name.
    fn name(&mut self, start: &'p str) -> Result<()> {
        let bad = || format!("invalid named capture group: {}", head(start));
        self.take("P");
        let (name, rest) = self.rest.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or_else(bad)?;
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(bad());
        }
        self.rest = rest;
        Ok(())
    }

    /// Flags up to `:` or, then true is returned, `)`.
    fn group_flags(&mut self, start: &str) -> Result<bool> {
        let bad = || format!("invalid perl operator: {}", head(start));
        let mut flags = self.flags;
        let mut set = true;
        let mut any = true;
        loop {
            let c = self.rest.chars().next().ok_or("missing )")?;
            self.advance();
            match c {
                'i' => flags.fold_case = set,
                'm' => flags.multi_line = set,
                's' => flags.dot_newline = set,
                'U' => {}
                '-' if set => {
                    set = false;
                    any = false;
                    continue;
                }
                ':' | ')' if any => {
                    self.flags = flags;
                    return Ok(c == ')');
                }
                _ => return Err(bad()),
            }
            any = true;
        }
    }

    fn backslash(&mut self, parts: &mut Vec<Node>) -> Result<()> {
        if self.take(r"\Q") {
            let (literal, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
            for c in literal.chars() {
                parts.push(Node::plain(self.literal(c.into())?));
            }
            self.rest = rest;
            return Ok(());
        }
        let looks =
            [(r"\A", Look::Start), (r"\z", Look::End), (r"\b", Look::WordAscii), (r"\B", Look::WordAsciiNegate)];
        for (escape, look) in looks {
            if self.take(escape) {
                parts.push(Node::plain(Hir::look(look)));
                return Ok(());
            }
        }
        let hir = if self.take(r"\C") {
            bytes(&[(0, 0xff)])
        } else if let Some(set) = self.named_set()? {
            set.to_hir()
        } else {
            let code = self.escape()?;
            self.literal(code)?
        };
        parts.push(Node::plain(hir));
        Ok(())
    }

    /// `\d`, `\D`, `\pL`, `\p{Greek}`, `\P{^Greek}`, ...
    fn named_set(&mut self) -> Result<Option<CharSet>> {
        let mut chars = self.rest.chars();
        let (Some('\\'), Some(letter)) = (chars.next(), chars.next()) else { return Ok(None) };
        if let Some(set) = groups::perl(letter.to_ascii_lowercase()) {
            self.rest = chars.as_str();
            return self.fold_and_negate(set, letter.is_ascii_uppercase()).map(Some);
        }
        if letter != 'p' && letter != 'P' {
            return Ok(None);
        }
        let start = self.rest;
        let bad = || format!("invalid character class range: {}", head(start));
        let after = chars.as_str();
        let (name, rest) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or_else(bad)?,
            None => after.split_at(after.chars().next().map_or(0, char::len_utf8)),
        };
        let (name, inverted) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let set = groups::unicode(name).ok_or_else(bad)?;
        self.rest = rest;
        self.fold_and_negate(set, (letter == 'P') != inverted).map(Some)
    }

    fn fold_and_negate(&self, mut set: CharSet, negated: bool) -> Result<CharSet> {
        if self.flags.fold_case {
            set.fold_case()?;
        }
        if negated {
            set.negate();
        }
        Ok(set)
    }

    /// A class in brackets.
    fn class(&mut self) -> Result<Hir> {
        let start = self.rest;
        let missing = || format!("missing ]: {}", head(start));
        self.advance();
        let negated = self.take("^");
        let mut set = CharSet::default();
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.rest.is_empty() {
                return Err(missing());
            }
            if let Some(named) = self.posix_set()? {
                set.add(&named);
            } else if let Some(named) = self.named_set()? {
                set.add(&named);
            } else {
                let range = self.rest;
                let low = self.class_char(start)?;
                let mut high = low;
                // A hyphen before the closing bracket is literal.
                if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
                    self.advance();
                    high = self.class_char(start)?;
                }
                if high < low {
                    let text = &range[..range.len() - self.rest.len()];
                    return Err(format!("invalid character class range: {text}"));
                }
                set.add(&self.fold_and_negate(CharSet::of(&[(low, high)]), false)?);
            }
        }
        self.advance();
        if negated {
            set.negate();
        }
        Ok(set.to_hir())
    }

    /// `[:alpha:]` or `[:^alpha:]`, inside brackets.
    fn posix_set(&mut self) -> Result<Option<CharSet>> {
        let Some((name, rest)) = self.rest.strip_prefix("[:").and_then(|inner| inner.split_once(":]")) else {
            return Ok(None);
        };
        let (plain, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let set = groups::posix(plain).ok_or_else(|| format!("invalid character class range: [:{name}:]"))?;
        self.rest = rest;
        self.fold_and_negate(set, negated).map(Some)
    }

    fn class_char(&mut self, start: &str) -> Result<u32> {
        match self.rest.chars().next() {
            None => Err(format!("missing ]: {}", head(start))),
            Some('\\') => self.escape(),
            Some(c) => {
                self.advance();
                Ok(c.into())
            }
        }
    }

    /// An escaped code point.
    fn escape(&mut self) -> Result<u32> {
        let start = self.rest;
        self.advance();
        let c = self.rest.chars().next().ok_or(r"trailing \")?;
        self.advance();
        let bad = || format!("invalid escape sequence: {}", head(start));
        let mut chars = self.rest.chars().peekable();
        let code = match c {
            'a' => 0x07,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            // One digit but 0 would be a reference to a group.
            '1'..='7' if !chars.peek().is_some_and(|next| next.is_digit(8)) => return Err(bad()),
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|next| next.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.advance();
                    chars.next();
                }
                code
            }
            'x' => self.hex(&mut chars).ok_or_else(bad)?,
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c.into(),
            _ => return Err(bad()),
        };
        Ok(code)
    }

    /// Two digits, or any number of them in braces.
    fn hex(&mut self, chars: &mut Peekable<Chars<'_>>) -> Option<u32> {
        if chars.peek() != Some(&'{') {
            let code = chars.next()?.to_digit(16)? * 16 + chars.next()?.to_digit(16)?;
            self.advance();
            self.advance();
            return Some(code);
        }
        let (digits, rest) = self.rest.strip_prefix('{')?.split_once('}')?;
        let mut code: u32 = 0;
        for digit in digits.chars() {
            code = code * 16 + digit.to_digit(16)?;
            if code > MAX {
                return None;
            }
        }
        self.rest = rest;
        (!digits.is_empty()).then_some(code)
    }

    fn take(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn advance(&mut self) {
        let mut chars = self.rest.chars();
        chars.next();
        self.rest = chars.as_str();
    }
}

fn single(c: char) -> CharSet {
    CharSet::of(&[(c.into(), c.into())])
}

fn repeat(part: Node, min: u32, max: Option<u32>, operator: &str) -> Result<Node> {
    // Stars and plusses do not multiply the program.
    let count = if operator.starts_with('{') { max.unwrap_or(min).max(1) } else { 1 };
    let repeats = part.repeats.saturating_mul(count);
    if repeats > MAX_REPEAT {
        return Err(format!("invalid repetition size: {operator}"));
    }
    let repetition = Repetition { min, max, greedy: true, sub: Box::new(part.hir) };
    Ok(Node { hir: Hir::repetition(repetition), repeats })
}

/// `n}`, `n,}` or `n,m}`, and what follows.
fn counts(text: &str) -> Option<((u32, Option<u32>), &str)> {
    let (min, rest) = number(text)?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some(((min, Some(min)), rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some(((min, None), rest));
    }
    let (max, rest) = number(rest)?;
    Some(((min, Some(max)), rest.strip_prefix('}')?))
}

/// A number without leading zeros; large ones stop at a value that is too large in any case.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() || (number.len() > 1 && number.starts_with('0')) {
        return None;
    }
    Some((number.parse().unwrap_or(u32::MAX), rest))
}

/// The beginning of what is wrong, for messages.
fn head(text: &str) -> &str {
    let end = text.char_indices().nth(20).map_or(text.len(), |(index, _)| index);
    &text[..end]
}
