//! Filter configurations behind Envoy's pointers: made and freed on the main thread, read by all workers.

use std::ffi::c_void;

use crate::guard::guarded;
use crate::log::{Level, log};
use crate::raw::Buffer;
use crate::text::ConfigError;

/// Has `make` build a factory from the filter's name and configuration. A refusal is logged and becomes the null
/// pointer, upon which Envoy rejects the configuration.
///
/// # Safety
///
/// Both buffers are Envoy's, in a call of one of its hooks.
pub(crate) unsafe fn new_factory<F: ?Sized>(
    kind: &str,
    name: Buffer,
    config: Buffer,
    make: impl FnOnce(&str, &[u8]) -> Result<Box<F>, ConfigError>,
) -> *const c_void {
    // SAFETY: Envoy's buffers are readable during the call.
    let (name, config) = unsafe { (name.bytes(), config.bytes()) };
    let make = || {
        let name = String::from_utf8_lossy(name);
        match make(&name, config) {
            Ok(factory) => Box::into_raw(Box::new(factory)).cast_const().cast(),
            Err(error) => {
                log(Level::Error, &format!("{kind} {name}: {}", error.0));
                std::ptr::null()
            }
        }
    };
    guarded(kind, make, std::ptr::null)
}

/// The factory behind a pointer.
///
/// # Safety
///
/// `pointer` comes from [`new_factory`] with the same `F` and is freed after `'f` only.
pub(crate) unsafe fn factory<'f, F: ?Sized>(pointer: *const c_void) -> &'f F {
    // SAFETY: the caller vouches for the pointer and its life.
    unsafe { &*pointer.cast::<Box<F>>() }
}

/// Frees a factory.
///
/// # Safety
///
/// As for [`factory`], and the pointer is not used again.
pub(crate) unsafe fn drop_factory<F: ?Sized>(kind: &str, pointer: *const c_void) {
    // SAFETY: the caller vouches that the pointer is live and given up here.
    guarded(kind, || drop(unsafe { Box::from_raw(pointer.cast_mut().cast::<Box<F>>()) }), || ());
}
