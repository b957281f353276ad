//! The side of the library that embeds Python.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::raw::{self, Bytes, List, Object, Pair, Sink, Table};
use crate::{Answer, Failure, FailureKind, Info, Kind, Settings};

/// What an embedding library does. Reasons are one sentence, and may have a traceback on further lines.
pub trait Guest: 'static {
    /// A protocol.
    type Class: Send + Sync;
    /// A rule of a protocol.
    type Rule: Send + Sync;
    /// The parser of a connection.
    type Parser: Send + Sync;

    /// Starts the interpreter, once, on the thread that makes all further calls.
    fn start(settings: &Settings<'_>) -> Result<(), String>;

    /// From here to [`Guest::end`], what the guest runs can be interrupted by this number.
    fn begin(call: u64);

    /// Ends what [`Guest::begin`] began.
    fn end();

    /// Has what runs under that number fail, soon; from any thread.
    fn interrupt(call: u64);

    /// Whether what was loaded is no more what lies on disk.
    fn changed() -> bool;

    /// Forgets what was loaded: from now on [`Guest::load`] reads anew.
    fn refresh();

    /// Loads a protocol, `package.module:Class`.
    fn load(name: &str) -> Result<Self::Class, String>;

    /// Makes a rule of a policy's names and values.
    fn rule(class: &Self::Class, fields: &[(&str, &str)]) -> Result<Self::Rule, String>;

    /// Makes the parser of a new connection.
    fn parser(class: &Self::Class, info: &Info<'_>) -> Result<Self::Parser, String>;

    /// Whether the rule matches the message that [`decide`] was asked about; `None` when it failed.
    fn matches(rule: &Self::Rule) -> Option<bool>;

    /// Has the parser look at bytes. [`decide`], [`inject`] and [`log`] work during this call.
    fn on_data(parser: &Self::Parser, reply: bool, end_stream: bool, data: &[u8]) -> Answer;

    /// Drops a class, rule or parser.
    fn free<T>(object: T);
}

thread_local! {
    /// The call back of the call that this thread is in.
    static CALLS: Cell<Option<raw::Calls>> = const { Cell::new(None) };
}

/// Takes the call back away when the call ends, however it does.
struct Entered(Option<raw::Calls>);

impl Entered {
    fn new(calls: raw::Calls) -> Self {
        Self(CALLS.replace(Some(calls)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CALLS.set(self.0);
    }
}

/// Asks the policy about the message at hand; `None` outside of [`Guest::on_data`].
#[must_use]
pub fn decide() -> Option<bool> {
    // SAFETY: the host waits for `on_data`, in which this is.
    CALLS.get().map(|calls| unsafe { (calls.decide)(calls.target) })
}

/// Adds bytes to a direction; how many fitted, `None` outside of [`Guest::on_data`].
#[must_use]
pub fn inject(reply: bool, bytes: &[u8]) -> Option<usize> {
    // SAFETY: as in `decide`.
    CALLS.get().map(|calls| unsafe { (calls.inject)(calls.target, reply, Bytes::new(bytes)) })
}

/// Writes an access log entry; `None` outside of [`Guest::on_data`].
#[must_use]
pub fn log(kind: Kind, protocol: &str, fields: &[(&str, &str)]) -> Option<()> {
    let calls = CALLS.get()?;
    let fields: Vec<_> = fields.iter().map(|(name, value)| Pair::new(name, value)).collect();
    // SAFETY: as in `decide`.
    unsafe { (calls.log)(calls.target, kind as u32, Bytes::new(protocol.as_bytes()), List::new(&fields)) };
    Some(())
}

/// The functions of a guest, for its library's exported `cilium_embed`.
#[must_use]
pub fn table<G: Guest>() -> &'static Table {
    const { &Thunks::<G>::TABLE }
}

struct Thunks<G>(std::marker::PhantomData<G>);

const PANICKED: &str = "the library that embeds Python panicked";

/// Runs a call; a panic becomes `otherwise`.
fn guarded<T>(body: impl FnOnce() -> T, otherwise: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| otherwise())
}

/// The object as a pointer, or null and the reason.
fn object<T>(body: impl FnOnce() -> Result<T, String>, sink: Sink) -> Object {
    match guarded(body, || Err(PANICKED.to_owned())) {
        Ok(object) => Box::into_raw(Box::new(object)).cast(),
        Err(reason) => {
            sink.push(&reason);
            std::ptr::null_mut()
        }
    }
}

/// # Safety
///
/// The pointer is one of [`object`] with the same type, and not freed.
unsafe fn borrowed<'a, T>(pointer: *mut c_void) -> &'a T {
    // SAFETY: the caller vouches for it.
    unsafe { &*pointer.cast::<T>() }
}

/// # Safety
///
/// As for [`borrowed`], and the pointer is given up.
unsafe extern "C" fn free<G: Guest, T>(pointer: *mut c_void) {
    // SAFETY: the caller vouches for it.
    guarded(|| G::free(unsafe { Box::from_raw(pointer.cast::<T>()) }), || ());
}

// SAFETY of all of these: the host passes what it got from this table, and waits for the call to return.
impl<G: Guest> Thunks<G> {
    const TABLE: Table = Table {
        version: raw::VERSION,
        start: Self::start,
        begin: Self::begin,
        end: Self::end,
        interrupt: Self::interrupt,
        changed: Self::changed,
        refresh: Self::refresh,
        load: Self::load,
        rule: Self::rule,
        parser: Self::parser,
        matches: Self::matches,
        on_data: Self::on_data,
        free_class: free::<G, G::Class>,
        free_rule: free::<G, G::Rule>,
        free_parser: free::<G, G::Parser>,
    };

    unsafe extern "C" fn start(settings: *const raw::Settings, sink: Sink) -> bool {
        // SAFETY: see above.
        let (settings, directories) = unsafe { (&*settings, (*settings).directories.items()) };
        // SAFETY: see above.
        let directories: Vec<_> = directories.iter().map(|directory| unsafe { directory.text() }).collect();
        let settings = Settings {
            // SAFETY: see above.
            program: unsafe { settings.program.text() },
            // SAFETY: see above.
            package: unsafe { settings.package.text() },
            directories: &directories,
            memory: settings.memory,
        };
        let started = guarded(|| G::start(&settings), || Err(PANICKED.to_owned()));
        started.map_err(|reason| sink.push(&reason)).is_ok()
    }

    unsafe extern "C" fn begin(call: u64) {
        guarded(|| G::begin(call), || ());
    }

    unsafe extern "C" fn end() {
        guarded(G::end, || ());
    }

    unsafe extern "C" fn interrupt(call: u64) {
        guarded(|| G::interrupt(call), || ());
    }

    unsafe extern "C" fn changed() -> bool {
        guarded(G::changed, || false)
    }

    unsafe extern "C" fn refresh() {
        guarded(G::refresh, || ());
    }

    unsafe extern "C" fn load(name: Bytes, sink: Sink) -> Object {
        // SAFETY: see above.
        object(|| G::load(unsafe { name.text() }), sink)
    }

    unsafe extern "C" fn rule(class: Object, fields: List<Pair>, sink: Sink) -> Object {
        // SAFETY: see above.
        let fields: Vec<_> = unsafe { fields.items() }.iter().map(|pair| unsafe { pair.texts() }).collect();
        // SAFETY: see above.
        object(|| G::rule(unsafe { borrowed(class) }, &fields), sink)
    }

    unsafe extern "C" fn parser(class: Object, info: *const raw::Info, sink: Sink) -> Object {
        // SAFETY: see above.
        let info = unsafe { &*info };
        // SAFETY: see above.
        let text = |bytes: Bytes| unsafe { bytes.text() };
        let info = Info {
            ingress: info.ingress,
            source_id: info.source_id,
            destination_id: info.destination_id,
            source_address: text(info.source_address),
            destination_address: text(info.destination_address),
            policy_name: text(info.policy_name),
            port: info.port,
        };
        // SAFETY: see above.
        object(|| G::parser(unsafe { borrowed(class) }, &info), sink)
    }

    unsafe extern "C" fn matches(rule: Object) -> u32 {
        // SAFETY: see above.
        match guarded(|| G::matches(unsafe { borrowed(rule) }), || None) {
            Some(true) => raw::YES,
            Some(false) => raw::NO,
            None => raw::UNKNOWN,
        }
    }

    unsafe extern "C" fn on_data(
        parser: Object,
        calls: *const raw::Calls,
        reply: bool,
        end_stream: bool,
        data: Bytes,
        reason: Sink,
        traceback: Sink,
    ) -> raw::Answer {
        // SAFETY: see above.
        let _entered = Entered::new(unsafe { *calls });
        // SAFETY: see above.
        let body = || G::on_data(unsafe { borrowed(parser) }, reply, end_stream, unsafe { data.bytes() });
        let (code, count) = match guarded(body, || Answer::Failed(Failure::new(FailureKind::Raised, PANICKED))) {
            Answer::More(count) => (raw::MORE, count),
            Answer::Pass(count) => (raw::PASS, count),
            Answer::Drop(count) => (raw::DROP, count),
            Answer::Inject(count) => (raw::INJECT, count),
            Answer::Error(text) => {
                reason.push(&text);
                (raw::ERROR, 0)
            }
            Answer::Failed(failure) => {
                reason.push(&failure.reason);
                traceback.push(&failure.traceback);
                (raw::FAILED, failure.kind as usize)
            }
        };
        raw::Answer { code, count }
    }
}
