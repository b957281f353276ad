//! The side of the proxy.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::path::Path;

use crate::raw::{self, Bytes, Entry, List, Object, Pair, Sink, Table};
use crate::{Answer, Failure, FailureKind, Info, Kind, Settings};

/// A guest. Never closed: an interpreter cannot be unloaded.
#[derive(Clone, Copy)]
pub struct Library {
    table: &'static Table,
}

/// Why a library cannot be used; one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError(String);

/// What a parser may do while it has data.
pub trait Calls {
    /// Asks the policy about the message at hand.
    fn decide(&mut self) -> bool;

    /// Adds bytes to a direction; how many fitted.
    fn inject(&mut self, reply: bool, bytes: &[u8]) -> usize;

    /// Writes an access log entry.
    fn log(&mut self, kind: Kind, protocol: &str, fields: &[(&str, &str)]);
}

/// A protocol. Dropping it, a rule or a parser is a call of the guest.
pub struct Class(Handle);

/// A rule of a protocol.
pub struct Rule(Handle);

/// The parser of a connection.
pub struct Parser(Handle);

struct Handle {
    object: Object,
    table: &'static Table,
    free: unsafe extern "C" fn(Object),
}

// SAFETY: the guest's objects are `Send` and `Sync`, see `Guest`.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the object is the guest's own, and given up here.
        unsafe { (self.free)(self.object) };
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Library")
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

impl Library {
    /// Opens the guest at `path` with the libraries that it needs, in their order, visible to all that is opened later.
    pub fn open(path: &Path, needed: &[&Path]) -> Result<Self, OpenError> {
        for library in needed {
            open(library, libc::RTLD_GLOBAL)?;
        }
        let library = open(path, libc::RTLD_LOCAL)?;
        // SAFETY: the handle is live for good; the name is a C string.
        let entry = unsafe { libc::dlsym(library, raw::ENTRY.as_ptr()) };
        if entry.is_null() {
            return Err(OpenError(format!("{} is not a library of this proxy", path.display())));
        }
        // SAFETY: the function of this name has this type in every version.
        let entry = unsafe { std::mem::transmute::<*mut c_void, Entry>(entry) };
        // SAFETY: it only returns a table that lives as long as its library, which is never closed.
        Self::new(unsafe { &*entry() })
    }

    /// A guest that is linked in.
    pub fn new(table: &'static Table) -> Result<Self, OpenError> {
        if table.version == raw::VERSION {
            Ok(Self { table })
        } else {
            Err(OpenError(format!("the library has version {}, wanted is {}", table.version, raw::VERSION)))
        }
    }

    /// See [`Guest::start`](crate::Guest::start).
    pub fn start(self, settings: &Settings<'_>) -> Result<(), String> {
        let directories: Vec<_> = settings.directories.iter().map(|text| Bytes::new(text.as_bytes())).collect();
        let settings = raw::Settings {
            program: Bytes::new(settings.program.as_bytes()),
            package: Bytes::new(settings.package.as_bytes()),
            directories: List::new(&directories),
            memory: settings.memory,
        };
        let mut reason = String::new();
        // SAFETY: all pointers are to locals.
        if unsafe { (self.table.start)(&raw const settings, Sink::new(&mut reason)) } { Ok(()) } else { Err(reason) }
    }

    /// See [`Guest::begin`](crate::Guest::begin).
    pub fn begin(self, call: u64) {
        // SAFETY: takes a number.
        unsafe { (self.table.begin)(call) };
    }

    /// See [`Guest::end`](crate::Guest::end).
    pub fn end(self) {
        // SAFETY: takes nothing.
        unsafe { (self.table.end)() };
    }

    /// See [`Guest::interrupt`](crate::Guest::interrupt).
    pub fn interrupt(self, call: u64) {
        // SAFETY: takes a number.
        unsafe { (self.table.interrupt)(call) };
    }

    /// See [`Guest::changed`](crate::Guest::changed).
    #[must_use]
    pub fn changed(self) -> bool {
        // SAFETY: takes nothing.
        unsafe { (self.table.changed)() }
    }

    /// See [`Guest::refresh`](crate::Guest::refresh).
    pub fn refresh(self) {
        // SAFETY: takes nothing.
        unsafe { (self.table.refresh)() };
    }

    /// See [`Guest::load`](crate::Guest::load).
    pub fn load(self, name: &str) -> Result<Class, String> {
        // SAFETY: all pointers are to locals.
        self.object(self.table.free_class, |sink| unsafe { (self.table.load)(Bytes::new(name.as_bytes()), sink) })
            .map(Class)
    }

    fn object(self, free: unsafe extern "C" fn(Object), make: impl FnOnce(Sink) -> Object) -> Result<Handle, String> {
        let mut reason = String::new();
        let object = make(Sink::new(&mut reason));
        if object.is_null() { Err(reason) } else { Ok(Handle { object, table: self.table, free }) }
    }
}

impl Class {
    /// The protocol of a guest that is linked in.
    #[must_use]
    pub fn linked<G: crate::Guest>(class: G::Class) -> Self {
        let table = crate::table::<G>();
        Self(Handle { object: Box::into_raw(Box::new(class)).cast(), table, free: table.free_class })
    }

    /// See [`Guest::rule`](crate::Guest::rule).
    pub fn rule<'f>(&self, fields: impl Iterator<Item = (&'f str, &'f str)>) -> Result<Rule, String> {
        let fields: Vec<_> = fields.map(|(name, value)| Pair::new(name, value)).collect();
        let library = Library { table: self.0.table };
        let table = self.0.table;
        // SAFETY: the class is live; all other pointers are to locals.
        let make = |sink| unsafe { (table.rule)(self.0.object, List::new(&fields), sink) };
        library.object(table.free_rule, make).map(Rule)
    }

    /// See [`Guest::parser`](crate::Guest::parser).
    pub fn parser(&self, info: &Info<'_>) -> Result<Parser, String> {
        let info = raw::Info {
            ingress: info.ingress,
            port: info.port,
            source_id: info.source_id,
            destination_id: info.destination_id,
            source_address: Bytes::new(info.source_address.as_bytes()),
            destination_address: Bytes::new(info.destination_address.as_bytes()),
            policy_name: Bytes::new(info.policy_name.as_bytes()),
        };
        let library = Library { table: self.0.table };
        let table = self.0.table;
        // SAFETY: as in `rule`.
        let make = |sink| unsafe { (table.parser)(self.0.object, &raw const info, sink) };
        library.object(table.free_parser, make).map(Parser)
    }
}

impl Rule {
    /// Whether the rule matches the message at hand, within [`Calls::decide`]; `None` when it failed.
    #[must_use]
    pub fn matches(&self) -> Option<bool> {
        // SAFETY: the rule is live.
        match unsafe { (self.0.table.matches)(self.0.object) } {
            raw::YES => Some(true),
            raw::NO => Some(false),
            _ => None,
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule")
    }
}

impl Parser {
    /// See [`Guest::on_data`](crate::Guest::on_data).
    pub fn on_data(&self, calls: &mut dyn Calls, reply: bool, end_stream: bool, data: &[u8]) -> Answer {
        let (mut reason, mut traceback) = (String::new(), String::new());
        let mut target = calls;
        let back = raw::Calls {
            target: (&raw mut target).cast(),
            decide: call_back::decide,
            inject: call_back::inject,
            log: call_back::log,
        };
        // SAFETY: the parser is live; all other pointers are to locals.
        let answer = unsafe {
            (self.0.table.on_data)(
                self.0.object,
                &raw const back,
                reply,
                end_stream,
                Bytes::new(data),
                Sink::new(&mut reason),
                Sink::new(&mut traceback),
            )
        };
        match answer.code {
            raw::MORE => Answer::More(answer.count),
            raw::PASS => Answer::Pass(answer.count),
            raw::DROP => Answer::Drop(answer.count),
            raw::INJECT => Answer::Inject(answer.count),
            raw::ERROR => Answer::Error(reason),
            _ => {
                let kinds = [FailureKind::Nonsense, FailureKind::Interrupted, FailureKind::Memory];
                let kind = kinds.into_iter().find(|kind| *kind as usize == answer.count);
                Answer::Failed(Failure { kind: kind.unwrap_or(FailureKind::Raised), reason, traceback })
            }
        }
    }
}

/// What the guest calls. A panic must not pass through the guest: it denies, and nothing else comes of it.
mod call_back {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{Bytes, Calls, Kind, List, Pair, c_void};

    /// # Safety
    ///
    /// `target` is that of `on_data`, which waits, and the guest is on its thread.
    unsafe fn calls<'a>(target: *mut c_void) -> &'a mut dyn Calls {
        // SAFETY: the caller vouches for it.
        unsafe { &mut **target.cast::<&mut dyn Calls>() }
    }

    pub(super) unsafe extern "C" fn decide(target: *mut c_void) -> bool {
        // SAFETY: the guest passes what it got.
        let calls = unsafe { calls(target) };
        catch_unwind(AssertUnwindSafe(|| calls.decide())).unwrap_or(false)
    }

    pub(super) unsafe extern "C" fn inject(target: *mut c_void, reply: bool, bytes: Bytes) -> usize {
        // SAFETY: as in `decide`.
        let (calls, bytes) = unsafe { (calls(target), bytes.bytes()) };
        catch_unwind(AssertUnwindSafe(|| calls.inject(reply, bytes))).unwrap_or(0)
    }

    pub(super) unsafe extern "C" fn log(target: *mut c_void, kind: u32, protocol: Bytes, fields: List<Pair>) {
        // SAFETY: as in `decide`.
        let (calls, protocol, fields) = unsafe { (calls(target), protocol.text(), fields.items()) };
        // SAFETY: as in `decide`.
        let fields: Vec<_> = fields.iter().map(|pair| unsafe { pair.texts() }).collect();
        let kind = match kind {
            0 => Kind::Request,
            1 => Kind::Response,
            _ => Kind::Denied,
        };
        let _ = catch_unwind(AssertUnwindSafe(|| calls.log(kind, protocol, &fields)));
    }
}

fn open(path: &Path, visible: i32) -> Result<*mut c_void, OpenError> {
    use std::os::unix::ffi::OsStrExt;

    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| OpenError("a path has a zero byte".to_owned()))?;
    // SAFETY: opening runs the library's initialisers; which library it is, is the operator's configuration.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | visible) };
    if library.is_null() {
        // SAFETY: valid after a failure, until the next call of this thread.
        let error = unsafe { libc::dlerror() };
        let text = if error.is_null() {
            "no reason was given".into()
        } else {
            // SAFETY: it is a C string then.
            unsafe { CStr::from_ptr(error) }.to_string_lossy()
        };
        return Err(OpenError(format!("{} cannot be loaded: {text}", path.display())));
    }
    Ok(library)
}
