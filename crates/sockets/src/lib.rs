//! Preloaded into Envoy (`LD_PRELOAD`): `setsockopt` with one more level, [`private_option::LEVEL`].
//!
//! Envoy passes socket options on to libc's `setsockopt`. Calls with any other level go on to libc's, after one compare.
//! Nothing here allocates, takes a lock that a signal could find held by its own thread, or unwinds into Envoy. What
//! cannot be done is reported as an errno, upon which Envoy fails the connection.
#![deny(unsafe_op_in_unsafe_fn)]

mod apply;
mod real;

use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cilium_privileged::private_option;
use libc::{c_int, c_void, socklen_t};
use rustix::io::Errno;

/// The longest value an option here has.
const MAX_VALUE: usize = 64;

/// setsockopt(2), and the options of [`private_option`].
///
/// # Safety
/// As for libc's: `value` points to `length` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsockopt(
    socket: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    if level != private_option::LEVEL {
        // SAFETY: the caller's promise is the one libc's function asks for.
        return unsafe { real::setsockopt(socket, level, name, value, length) };
    }
    // A panic here would be a bug; the connection fails, Envoy does not.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise.
        let value = unsafe { value_bytes(value, length) }?;
        // SAFETY: borrowed for this call, in which the caller, who has just named it, keeps it open.
        let socket = (socket >= 0).then(|| unsafe { BorrowedFd::borrow_raw(socket) }).ok_or(Errno::BADF)?;
        apply::apply(socket, name, value)
    }));
    match outcome.unwrap_or(Err(Errno::FAULT)) {
        Ok(()) => 0,
        Err(errno) => {
            // SAFETY: libc gives each thread an errno that is always writable.
            unsafe { *libc::__errno_location() = errno.raw_os_error() };
            -1
        }
    }
}

/// # Safety
/// `value` is null or points to `length` bytes that stay readable and unchanged for `'v`.
unsafe fn value_bytes<'v>(value: *const c_void, length: socklen_t) -> Result<&'v [u8], Errno> {
    let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
    if length == 0 || length > MAX_VALUE {
        return Err(Errno::INVAL);
    }
    if value.is_null() {
        return Err(Errno::FAULT);
    }
    // SAFETY: not null, and the caller's promise; bytes need no alignment.
    Ok(unsafe { std::slice::from_raw_parts(value.cast(), length) })
}

#[cfg(test)]
mod tests;
