//! Requests of the text protocol.

use crate::memcache::queue::{Owed, TOO_MANY};
use crate::memcache::text::{DENIAL, Line, MARK, MAX_KEY, PROTO, Sent, Text, first_line, words};
use crate::memcache::{Command, Request, meta};
use crate::op::{ErrorCode, Op};
use crate::parser::Context;
use crate::record::L7;

/// How a command is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By one line.
    Line,
    /// By values and an end line.
    Values,
    /// By lines and an end line.
    Lines,
    /// By one line, or one with a value.
    Meta,
    /// By lines without end.
    Watch,
}

/// A request line, understood.
struct Parsed<'a> {
    command: &'static str,
    /// What it amounts to; differs from the command for meta commands.
    amounts_to: &'a [&'static str],
    keys: Vec<&'a [u8]>,
    /// How it is answered; `None`: not at all.
    answer: Option<Kind>,
    quiet: bool,
    /// Length of the value that follows, without its line end.
    value: Option<usize>,
}

/// A length of at most 1 GiB, which is the most memcached takes.
pub(crate) fn length(word: &[u8]) -> Option<usize> {
    let digits = word.len() <= 10 && word.iter().all(u8::is_ascii_digit);
    let length: usize = std::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok()?;
    (length <= 1 << 30).then_some(length)
}

/// A number that fits. memcached refuses others before it knows of the value, which then is commands to it.
fn is_number<T: std::str::FromStr>(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    digits.iter().all(u8::is_ascii_digit) && std::str::from_utf8(word).is_ok_and(|word| word.parse::<T>().is_ok())
}

/// The command's own name for it.
fn known(name: &[u8]) -> Option<&'static str> {
    const NAMES: &[&str] = &[
        "get",
        "gets",
        "gat",
        "gats",
        "set",
        "add",
        "replace",
        "append",
        "prepend",
        "cas",
        "delete",
        "incr",
        "decr",
        "touch",
        "slabs",
        "lru",
        "lru_crawler",
        "stats",
        "version",
        "misbehave",
        "verbosity",
        "flush_all",
        "cache_memlimit",
        "quit",
        "watch",
        "mg",
        "ms",
        "md",
        "ma",
        "me",
        "mn",
    ];
    NAMES.iter().find(|known| known.as_bytes() == name).copied()
}

/// Reads a line of a classic command. A line that memcached would refuse is refused here: it would take what follows for commands.
fn classic<'a>(command: &'static str, words: &[&'a [u8]]) -> Option<Parsed<'a>> {
    let noreply = words.last() == Some(&b"noreply".as_slice());
    let arguments = &words[1..words.len() - usize::from(noreply)];
    let keys =
        |keys: &[&'a [u8]]| (!keys.is_empty() && keys.iter().all(|key| key.len() <= MAX_KEY)).then(|| keys.to_vec());
    let (keys, answer, value) = match command {
        // These have no noreply: the word is a key.
        "get" | "gets" => (keys(&words[1..])?, Some(Kind::Values), None),
        "gat" | "gats" if is_number::<i32>(words.get(1)?) => (keys(&words[2..])?, Some(Kind::Values), None),
        "set" | "add" | "replace" | "append" | "prepend" if arguments.len() == 4 => {
            (is_number::<u32>(arguments[1]) && is_number::<i32>(arguments[2])).then_some(())?;
            (keys(&arguments[..1])?, Some(Kind::Line), Some(length(arguments[3])?))
        }
        "cas" if arguments.len() == 5 => {
            (is_number::<u32>(arguments[1]) && is_number::<i32>(arguments[2])).then_some(())?;
            is_number::<u64>(arguments[4]).then_some(())?;
            (keys(&arguments[..1])?, Some(Kind::Line), Some(length(arguments[3])?))
        }
        "delete" if matches!(arguments.len(), 1 | 2) => (keys(&arguments[..1])?, Some(Kind::Line), None),
        "incr" | "decr" | "touch" if arguments.len() == 2 => (keys(&arguments[..1])?, Some(Kind::Line), None),
        "slabs" | "lru" | "version" | "misbehave" | "flush_all" | "cache_memlimit" | "verbosity" => {
            (Vec::new(), Some(Kind::Line), None)
        }
        "stats" | "lru_crawler" => (Vec::new(), Some(Kind::Lines), None),
        "watch" => (Vec::new(), Some(Kind::Watch), None),
        "quit" => (Vec::new(), None, None),
        _ => return None,
    };
    let takes_noreply = !matches!(
        command,
        "get" | "gets" | "gat" | "gats" | "slabs" | "lru" | "lru_crawler" | "stats" | "version" | "misbehave" | "watch"
    );
    let answer = answer.filter(|_| !(noreply && takes_noreply));
    Some(Parsed { command, amounts_to: &[], keys, answer, quiet: false, value })
}

impl Text {
    pub(crate) fn request(&mut self, context: &mut Context<'_>, data: &[u8]) -> Op {
        if let Some(frame) = self.dropping.take() {
            return Op::Drop(frame);
        }
        let (line, end) = match first_line(data) {
            Line::Whole(line, end) => (line, end),
            Line::Incomplete(more) => return more,
            Line::Bad(why) => return context.fail(ErrorCode::Unspecified, why),
        };
        let words = words(line);
        let Some(command) = words.first().and_then(|word| known(word)) else {
            return context.fail(ErrorCode::Unspecified, "an unknown command");
        };
        if command == "mn" {
            return self.mark(context, end);
        }
        let (meta, own) = (matches!(command, "mg" | "ms" | "md" | "ma" | "me"), [command]);
        let of_meta = if meta { meta::parse(&words) } else { None };
        let parsed = match &of_meta {
            Some(meta) => Some(Parsed {
                command,
                amounts_to: meta.commands,
                keys: vec![&meta.key],
                answer: Some(Kind::Meta),
                quiet: meta.quiet,
                value: meta.value,
            }),
            None if meta => None,
            None => classic(command, &words).map(|parsed| Parsed { amounts_to: &own, ..parsed }),
        };
        match parsed {
            Some(parsed) => self.decide(context, parsed, end),
            None => context.fail(ErrorCode::Unspecified, format!("malformed arguments of {command}")),
        }
    }

    /// The client's no-op passes under any rules: it reads and changes nothing, and clients need it to end a batch.
    fn mark(&mut self, context: &mut Context<'_>, frame: usize) -> Op {
        if !self.queue.push(Owed::Mark) {
            return context.fail(ErrorCode::Unspecified, TOO_MANY);
        }
        Op::Pass(frame)
    }

    fn decide(&mut self, context: &mut Context<'_>, parsed: Parsed<'_>, end: usize) -> Op {
        let frame = end + parsed.value.map_or(0, |value| value + 2);
        let request = Request { command: Command::Text(parsed.amounts_to), keys: parsed.keys };
        let decision = context.decide(&crate::request::Request::Memcache(&request));
        let keys = request.keys.join(&b", "[..]);
        let fields = [("command", parsed.command.to_owned()), ("keys", String::from_utf8_lossy(&keys).into_owned())];
        let record = L7::generic(PROTO, fields);
        // A classic reply must not be taken for one to a quiet request before it, so it comes after a mark. The denial's place
        // among replies that may or may not come is that of a mark too.
        let mark_first = self.queue.ends_quiet()
            && match parsed.answer {
                None => false,
                Some(Kind::Meta) => !decision.allowed,
                Some(_) => true,
            };
        if mark_first {
            // An allowed request is parsed again after the mark; then the queue no longer ends quiet.
            let denial: &[u8] = if decision.allowed { b"" } else { DENIAL };
            if !decision.allowed {
                self.dropping = Some(frame);
                context.log_decision(&decision, record);
            }
            context.inject(false, MARK);
            return if self.queue.push(Owed::OwnMark(denial.to_vec())) {
                Op::Inject(MARK.len())
            } else {
                context.fail(ErrorCode::Unspecified, TOO_MANY)
            };
        }
        context.log_decision(&decision, record);
        let pushed = match (decision.allowed, parsed.answer) {
            (_, None) => true,
            (true, Some(_)) if parsed.quiet => self.queue.push(Owed::Quiet),
            (true, Some(Kind::Meta)) if self.queue.ends_quiet() => true,
            (true, Some(kind)) => self.queue.push(Owed::Reply(Sent { command: parsed.command, kind })),
            (false, Some(_)) if self.queue.is_empty() => {
                context.inject(true, DENIAL);
                true
            }
            (false, Some(_)) => self.queue.push(Owed::Denial(DENIAL.to_vec())),
        };
        match (pushed, decision.allowed) {
            (false, _) => context.fail(ErrorCode::Unspecified, TOO_MANY),
            (true, true) => Op::Pass(frame),
            (true, false) => Op::Drop(frame),
        }
    }
}
