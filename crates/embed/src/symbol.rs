//! Functions of Python that its stable ABI does not have: looked up, so that a Python without them is an error and not a crash.

use std::ffi::{CStr, c_void};

/// The function of that name.
///
/// # Safety
///
/// `F` is its type, a function pointer.
#[allow(unsafe_code, reason = "looks a symbol up")]
pub(crate) unsafe fn symbol<F: Copy>(name: &CStr) -> Result<F, String> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>(), "a function pointer") };
    // SAFETY: takes a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        return Err(format!("this Python has no {}", name.to_string_lossy()));
    }
    // SAFETY: the caller vouches for the type.
    Ok(unsafe { std::mem::transmute_copy(&found) })
}
