//! What crosses the border.

use std::ffi::c_void;

/// Counted up with every change of this file.
pub(crate) const VERSION: u32 = 1;

/// Name of the function that returns the [`Table`].
pub(crate) const ENTRY: &std::ffi::CStr = c"cilium_embed";

pub(crate) type Entry = unsafe extern "C" fn() -> *const Table;

/// Bytes of the caller, for the time of the call.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Bytes {
    pub(crate) start: *const u8,
    pub(crate) length: usize,
}

/// A name with its value.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Pair {
    pub(crate) name: Bytes,
    pub(crate) value: Bytes,
}

/// A list of the caller, for the time of the call.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct List<T> {
    pub(crate) start: *const T,
    pub(crate) length: usize,
}

/// Takes texts while a call lasts.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Sink {
    pub(crate) target: *mut c_void,
    pub(crate) write: unsafe extern "C" fn(*mut c_void, Bytes),
}

#[repr(C)]
pub(crate) struct Settings {
    pub(crate) program: Bytes,
    pub(crate) package: Bytes,
    pub(crate) directories: List<Bytes>,
    pub(crate) memory: u64,
}

#[repr(C)]
pub(crate) struct Info {
    pub(crate) ingress: bool,
    pub(crate) port: u16,
    pub(crate) source_id: u32,
    pub(crate) destination_id: u32,
    pub(crate) source_address: Bytes,
    pub(crate) destination_address: Bytes,
    pub(crate) policy_name: Bytes,
}

/// What a guest may call while it has data.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Calls {
    pub(crate) target: *mut c_void,
    pub(crate) decide: unsafe extern "C" fn(*mut c_void) -> bool,
    pub(crate) inject: unsafe extern "C" fn(*mut c_void, bool, Bytes) -> usize,
    pub(crate) log: unsafe extern "C" fn(*mut c_void, u32, Bytes, List<Pair>),
}

/// An answer without its texts. `code` is `MORE` to `FAILED`; `count` has bytes, or the number of the failure's kind.
#[repr(C)]
pub(crate) struct Answer {
    pub(crate) code: u32,
    pub(crate) count: usize,
}

pub(crate) const MORE: u32 = 0;
pub(crate) const PASS: u32 = 1;
pub(crate) const DROP: u32 = 2;
pub(crate) const INJECT: u32 = 3;
pub(crate) const ERROR: u32 = 4;
pub(crate) const FAILED: u32 = 5;

/// Answers to whether a rule matches.
pub(crate) const NO: u32 = 0;
pub(crate) const YES: u32 = 1;
pub(crate) const UNKNOWN: u32 = 2;

/// An object of the guest; freed by the function of its kind.
pub(crate) type Object = *mut c_void;

/// The functions of a guest. A function that makes an object returns null and writes the reason when it cannot.
#[repr(C)]
pub struct Table {
    pub(crate) version: u32,
    pub(crate) start: unsafe extern "C" fn(*const Settings, Sink) -> bool,
    pub(crate) begin: unsafe extern "C" fn(u64),
    pub(crate) end: unsafe extern "C" fn(),
    pub(crate) interrupt: unsafe extern "C" fn(u64),
    pub(crate) changed: unsafe extern "C" fn() -> bool,
    pub(crate) refresh: unsafe extern "C" fn(),
    pub(crate) load: unsafe extern "C" fn(Bytes, Sink) -> Object,
    pub(crate) rule: unsafe extern "C" fn(Object, List<Pair>, Sink) -> Object,
    pub(crate) parser: unsafe extern "C" fn(Object, *const Info, Sink) -> Object,
    pub(crate) matches: unsafe extern "C" fn(Object) -> u32,
    pub(crate) on_data: unsafe extern "C" fn(Object, *const Calls, bool, bool, Bytes, Sink, Sink) -> Answer,
    pub(crate) free_class: unsafe extern "C" fn(Object),
    pub(crate) free_rule: unsafe extern "C" fn(Object),
    pub(crate) free_parser: unsafe extern "C" fn(Object),
}

impl Bytes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr(), length: bytes.len() }
    }

    /// # Safety
    ///
    /// The bytes are readable and stay as they are for `'a`.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the caller vouches for the bytes.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }

    /// # Safety
    ///
    /// As for [`Self::bytes`]. Both sides make these from `str`.
    pub(crate) unsafe fn text<'a>(self) -> &'a str {
        // SAFETY: the caller vouches for the bytes; text stays text on its way.
        unsafe { std::str::from_utf8_unchecked(self.bytes()) }
    }
}

impl<T> List<T> {
    pub(crate) fn new(items: &[T]) -> Self {
        Self { start: items.as_ptr(), length: items.len() }
    }

    /// # Safety
    ///
    /// As for [`Bytes::bytes`].
    pub(crate) unsafe fn items<'a>(&self) -> &'a [T] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the caller vouches for the items.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Pair {
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self { name: Bytes::new(name.as_bytes()), value: Bytes::new(value.as_bytes()) }
    }

    /// # Safety
    ///
    /// As for [`Bytes::bytes`].
    pub(crate) unsafe fn texts<'a>(&self) -> (&'a str, &'a str) {
        // SAFETY: the caller vouches for the bytes.
        unsafe { (self.name.text(), self.value.text()) }
    }
}

impl Sink {
    pub(crate) fn new(text: &mut String) -> Self {
        unsafe extern "C" fn write(target: *mut c_void, bytes: Bytes) {
            // SAFETY: `target` is the string below, whose owner waits for the call to return.
            let text = unsafe { &mut *target.cast::<String>() };
            // SAFETY: the bytes are readable during this call.
            text.push_str(&String::from_utf8_lossy(unsafe { bytes.bytes() }));
        }
        Self { target: std::ptr::from_mut(text).cast(), write }
    }

    pub(crate) fn push(self, text: &str) {
        // SAFETY: the sink's owner waits for the call that got the sink.
        unsafe { (self.write)(self.target, Bytes::new(text.as_bytes())) };
    }
}
