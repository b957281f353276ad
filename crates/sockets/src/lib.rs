//! Preloaded into Envoy (`LD_PRELOAD`): `setsockopt` with one more level, [`private_option::LEVEL`],
//! and `connect` for the sockets that one of its options is about.
//!
//! Envoy passes socket options on to libc's `setsockopt`. Calls with any other level go on to libc's, after one compare.
//! Nothing here allocates, takes a lock that a signal could find held by its own thread, or unwinds into Envoy. What
//! cannot be done is reported as an errno, upon which Envoy fails the connection.
#![deny(unsafe_op_in_unsafe_fn)]

mod apply;
mod on_connect;
mod real;

use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cilium_privileged::{private_option, sys};
use libc::{c_int, c_void, sockaddr, socklen_t};
use rustix::io::Errno;

/// The longest value an option here has; a `sockaddr_storage`, too.
const MAX_VALUE: usize = 128;

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
    guarded(|| {
        // SAFETY: the caller's promise.
        let value = unsafe { value_bytes(value, length) }?;
        // SAFETY: the caller, who has just named it, keeps it open during this call.
        apply::apply(unsafe { borrow(socket) }?, name, value)
    })
}

/// connect(2), before which a socket with the option [`private_option::SOURCE_ADDRESS_ON_CONNECT`] is bound.
///
/// # Safety
/// As for libc's: `address` points to `length` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    if let Some(pending) = on_connect::take(socket) {
        let bound = guarded(|| {
            // SAFETY: the caller's promise.
            let address = unsafe { value_bytes(address.cast(), length) }?;
            // SAFETY: the caller, who has just named it, keeps it open during this call.
            pending.bind(unsafe { borrow(socket) }?, address)
        });
        if bound != 0 {
            return bound;
        }
    }
    // SAFETY: the caller's promise is the one libc's function asks for.
    unsafe { real::connect(socket, address, length) }
}

/// Sets what says which destinations are local; see `cilium_privileged::local_destination`.
///
/// # Safety
/// `check` may be called from any thread from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cilium_sockets_set_local_check(check: sys::LocalCheck) {
    on_connect::set_local_check(check);
}

/// Runs it; its result as that of a system call. A panic would be a bug: the connection fails, Envoy does not.
fn guarded(act: impl FnOnce() -> Result<(), Errno>) -> c_int {
    match catch_unwind(AssertUnwindSafe(act)).unwrap_or(Err(Errno::FAULT)) {
        Ok(()) => 0,
        Err(errno) => {
            // SAFETY: libc gives each thread an errno that is always writable.
            unsafe { *libc::__errno_location() = errno.raw_os_error() };
            -1
        }
    }
}

/// # Safety
/// Whoever has the descriptor keeps it open for `'s`.
unsafe fn borrow<'s>(socket: c_int) -> Result<BorrowedFd<'s>, Errno> {
    if socket < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: not -1, and the caller's promise.
    Ok(unsafe { BorrowedFd::borrow_raw(socket) })
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
