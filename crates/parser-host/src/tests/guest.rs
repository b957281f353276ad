//! A guest whose parser does what the bytes say: messages end with `;`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use cilium_embed_abi as abi;
use cilium_embed_abi::{Answer, Failure, FailureKind, Guest, Info, Kind, Library, Settings};

use crate::lock;

pub(super) struct Scripted;

/// Calls that are to end. Numbers are those of all hosts of the process: one test at a time interrupts.
static INTERRUPTED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
pub(super) static INTERRUPTS: Mutex<()> = Mutex::new(());
/// Lets calls return that cannot be interrupted.
pub(super) static RELEASED: AtomicBool = AtomicBool::new(false);
/// Such a call runs.
pub(super) static STUCK: AtomicBool = AtomicBool::new(false);
/// What each name stands for, and whether it was changed.
static CODE: LazyLock<Mutex<BTreeMap<String, (&'static str, bool)>>> = LazyLock::new(Mutex::default);
/// Parsers of the code `counted` that are there.
pub(super) static ALIVE: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Class(&'static str);
pub(super) struct Rule(String);
pub(super) struct Parser(&'static str);

thread_local! {
    static CALL: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    static MESSAGE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

pub(super) fn library() -> Library {
    Library::new(abi::table::<Scripted>()).unwrap()
}

/// Edits the code behind a name: it is loaded, or is `broken`.
pub(super) fn edit(name: &str, code: &'static str) {
    lock(&CODE).insert(name.to_owned(), (code, true));
}

impl Drop for Parser {
    fn drop(&mut self) {
        if self.0 == "counted" {
            ALIVE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Guest for Scripted {
    type Class = Class;
    type Rule = Rule;
    type Parser = Parser;

    fn start(settings: &Settings<'_>) -> Result<(), String> {
        if settings.program == "missing" { Err("there is no Python\nat all".to_owned()) } else { Ok(()) }
    }

    fn begin(call: u64) {
        CALL.set(call);
    }

    fn end() {
        CALL.set(0);
    }

    fn interrupt(call: u64) {
        lock(&INTERRUPTED).insert(call);
    }

    fn changed() -> bool {
        lock(&CODE).values_mut().any(|(_, changed)| std::mem::take(changed))
    }

    fn refresh() {}

    fn load(name: &str) -> Result<Class, String> {
        match lock(&CODE).get(name).map_or("v1", |(code, _)| *code) {
            "broken" => Err(format!("{name} is broken\nin line 1")),
            code => Ok(Class(code)),
        }
    }

    fn rule(_class: &Class, fields: &[(&str, &str)]) -> Result<Rule, String> {
        Ok(Rule(fields.iter().map(|(_, value)| *value).collect()))
    }

    fn parser(class: &Class, info: &Info<'_>) -> Result<Parser, String> {
        if info.port == 1 {
            return Err("port 1 is refused\nin line 2".to_owned());
        }
        if class.0 == "counted" {
            ALIVE.fetch_add(1, Ordering::SeqCst);
        }
        Ok(Parser(class.0))
    }

    fn matches(rule: &Rule) -> Option<bool> {
        Some(MESSAGE.with_borrow(|message| message.starts_with(&rule.0)))
    }

    fn on_data(parser: &Parser, reply: bool, _end_stream: bool, data: &[u8]) -> Answer {
        let Some(end) = data.iter().position(|byte| *byte == b';') else { return Answer::More(1) };
        let message = String::from_utf8_lossy(&data[..end]).into_owned();
        if reply {
            return Answer::Pass(end + 1);
        }
        let failed = |kind, reason: &str| {
            Answer::Failed(Failure { kind, reason: reason.to_owned(), traceback: "line 3".to_owned() })
        };
        match &*message {
            "hang" => {
                let call = CALL.get();
                wait(|| lock(&INTERRUPTED).remove(&call));
                return failed(FailureKind::Interrupted, "interrupted");
            }
            "stuck" => {
                STUCK.store(true, Ordering::SeqCst);
                wait(|| RELEASED.load(Ordering::SeqCst));
            }
            "fail" => return failed(FailureKind::Raised, "ValueError: no"),
            "large" => return Answer::Pass(1000),
            "version" => drop(abi::inject(true, parser.0.as_bytes())),
            _ => {}
        }
        MESSAGE.set(message);
        let allowed = abi::decide() == Some(true);
        let _ = abi::log(if allowed { Kind::Request } else { Kind::Denied }, "scripted", &[]);
        if allowed {
            return Answer::Pass(end + 1);
        }
        let _ = abi::inject(true, b"denied;");
        Answer::Drop(end + 1)
    }

    fn free<T>(object: T) {
        assert_ne!(CALL.get(), 0, "the guest's objects are freed in calls of the guest");
        drop(object);
    }
}

fn wait(mut ended: impl FnMut() -> bool) {
    while !ended() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
