//! libc's `setsockopt` and `connect`, or those of the next preloaded library.

use std::sync::atomic::{AtomicPtr, Ordering};

use cilium_privileged::Client;
use libc::{c_int, c_void, sockaddr, socklen_t};

type SetSockOpt = unsafe extern "C" fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int;

type Connect = unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int;

/// The client of the privileged service: refused everything where this process inherited none.
pub(crate) static SERVICE: Client = Client::disconnected();

/// The next `setsockopt`; the system call itself until the library's constructor has found it.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(set_by_system_call as SetSockOpt as *mut c_void);
/// The next `connect`, likewise.
static NEXT_CONNECT: AtomicPtr<c_void> = AtomicPtr::new(connect_by_system_call as Connect as *mut c_void);

/// Run by the dynamic loader, before any thread exists.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn construct() {
        for (name, place) in [(c"setsockopt", &NEXT), (c"connect", &NEXT_CONNECT)] {
            // SAFETY: a look-up by a C string's name; the result is checked.
            let next = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
            if !next.is_null() {
                place.store(next, Ordering::Relaxed);
            }
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
    // SAFETY: NEXT only ever holds `set_by_system_call` or what the loader has for `setsockopt`, both of this type.
    let next = unsafe { std::mem::transmute::<*mut c_void, SetSockOpt>(NEXT.load(Ordering::Relaxed)) };
    // SAFETY: the caller's promise.
    unsafe { next(socket, level, name, value, length) }
}

/// # Safety
/// `address` points to `length` readable bytes.
pub(crate) unsafe fn connect(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: NEXT_CONNECT only ever holds `connect_by_system_call` or what the loader has for `connect`.
    let next = unsafe { std::mem::transmute::<*mut c_void, Connect>(NEXT_CONNECT.load(Ordering::Relaxed)) };
    // SAFETY: the caller's promise.
    unsafe { next(socket, address, length) }
}

unsafe extern "C" fn connect_by_system_call(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: the caller's promise; the arguments are those of connect(2).
    let result = unsafe { libc::syscall(libc::SYS_connect, socket, address, length) };
    c_int::try_from(result).unwrap_or(-1)
}

unsafe extern "C" fn set_by_system_call(
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
