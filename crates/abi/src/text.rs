//! Bytes across the boundary.

use std::ptr;

use crate::raw::{Buffer, Header};

/// Why a configuration is refused. Envoy rejects the configuration; the log has the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl<E: std::error::Error> From<E> for ConfigError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl Buffer {
    /// No bytes. For values, some functions take the null pointer as "none".
    pub(crate) const EMPTY: Self = Self { pointer: ptr::null(), length: 0 };

    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { pointer: bytes.as_ptr(), length: bytes.len() }
    }

    /// The bytes behind the buffer.
    ///
    /// # Safety
    ///
    /// The buffer is one that Envoy handed out, and the bytes stay unchanged for `'a`.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the caller vouches for pointer, length and lifetime.
        unsafe { bytes(self.pointer, self.length) }
    }
}

impl Header {
    pub(crate) fn new(name: &str, value: &[u8]) -> Self {
        Self { name: name.as_ptr(), name_length: name.len(), value: value.as_ptr(), value_length: value.len() }
    }

    /// Name and value.
    ///
    /// # Safety
    ///
    /// As for [`Buffer::bytes`].
    pub(crate) unsafe fn pair<'a>(&self) -> (&'a [u8], &'a [u8]) {
        // SAFETY: the caller vouches for both.
        unsafe { (bytes(self.name, self.name_length), bytes(self.value, self.value_length)) }
    }
}

unsafe fn bytes<'a>(pointer: *const u8, length: usize) -> &'a [u8] {
    if pointer.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller vouches that `length` bytes at `pointer` are readable and unchanged for `'a`.
    unsafe { std::slice::from_raw_parts(pointer, length) }
}
