//! libc's `setsockopt`, or that of the next preloaded library.

use std::sync::atomic::{AtomicPtr, Ordering};

use cilium_privileged::Client;
use libc::{c_int, c_void, socklen_t};

type SetSockOpt = unsafe extern "C" fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int;

/// The client of the privileged service: refused everything where this process inherited none.
pub(crate) static SERVICE: Client = Client::disconnected();

/// The next `setsockopt`; the system call itself until the library's constructor has found it.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(system_call as SetSockOpt as *mut c_void);

/// Run by the dynamic loader, before any thread exists.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn construct() {
        // SAFETY: a lookup by a C string's name; the result is checked.
        let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"setsockopt".as_ptr()) };
        if !next.is_null() {
            NEXT.store(next, Ordering::Relaxed);
        }
        // Here, not on first use: reading the environment may allocate, and others may change it later.
        SERVICE.attach_from_env();
    }
    construct
};

/// # Safety
/// `value` points to `length` readable bytes.
pub(crate) unsafe fn setsockopt(
    socket: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    // SAFETY: NEXT only ever holds `system_call` or what the loader has for `setsockopt`, both of this type.
    let next = unsafe { std::mem::transmute::<*mut c_void, SetSockOpt>(NEXT.load(Ordering::Relaxed)) };
    // SAFETY: the caller's promise.
    unsafe { next(socket, level, name, value, length) }
}

unsafe extern "C" fn system_call(
    socket: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    // SAFETY: the caller's promise; the arguments are those of setsockopt(2).
    let result = unsafe { libc::syscall(libc::SYS_setsockopt, socket, level, name, value, length) };
    c_int::try_from(result).unwrap_or(-1)
}
