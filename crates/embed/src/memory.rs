//! A bound on what parsers may allocate, all together: above it, Python raises `MemoryError`.
//!
//! Python's allocator takes arenas for small objects, and single blocks for the others; both are counted, and nothing in between,
//! so that the count costs next to nothing.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::symbol::symbol;

static USED: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Before each block: its size. As long as the strictest alignment, which C's allocator keeps.
const HEADER: usize = 16;

/// `PYMEM_DOMAIN_RAW`.
const RAW: c_int = 0;

/// `PyMemAllocatorEx`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Allocator {
    context: *mut c_void,
    malloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    calloc: unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, *mut c_void),
}

/// `PyObjectArenaAllocator`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Arenas {
    context: *mut c_void,
    alloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, *mut c_void, usize),
}

/// Counts from here on; to be called after Python's pre-initialisation and before its initialisation. 0: no limit.
#[allow(unsafe_code, reason = "Python's C functions")]
pub(crate) fn limit(bytes: u64) -> Result<(), String> {
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: functions of these names have had these types since Python 3.5.
    let (get, set, arenas) = unsafe {
        (
            symbol::<unsafe extern "C" fn(c_int, *mut Allocator)>(c"PyMem_GetAllocator")?,
            symbol::<unsafe extern "C" fn(c_int, *mut Allocator)>(c"PyMem_SetAllocator")?,
            symbol::<unsafe extern "C" fn(*mut Arenas)>(c"PyObject_GetArenaAllocator")?,
        )
    };
    // SAFETY: as above.
    let set_arenas = unsafe { symbol::<unsafe extern "C" fn(*mut Arenas)>(c"PyObject_SetArenaAllocator")? };
    LIMIT.store(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
    let mut of_blocks = std::mem::MaybeUninit::<Allocator>::uninit();
    let mut of_arenas = std::mem::MaybeUninit::<Arenas>::uninit();
    // SAFETY: the getters fill them. The contexts are leaked, so they live as long as Python.
    unsafe {
        get(RAW, of_blocks.as_mut_ptr());
        let context = Box::into_raw(Box::new(of_blocks.assume_init())).cast();
        set(RAW, &mut Allocator { context, malloc, calloc, realloc, free });
        arenas(of_arenas.as_mut_ptr());
        let context = Box::into_raw(Box::new(of_arenas.assume_init())).cast();
        set_arenas(&mut Arenas { context, alloc: new_arena, free: free_arena });
    }
    Ok(())
}

/// Counts bytes, unless they are too many.
fn take(bytes: usize) -> bool {
    let used = USED.fetch_add(bytes, Ordering::Relaxed);
    let fits = used.saturating_add(bytes) <= LIMIT.load(Ordering::Relaxed);
    if !fits {
        give_back(bytes);
    }
    fits
}

fn give_back(bytes: usize) {
    USED.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY of all of these: Python passes the context that it got, and blocks that came from here.

#[allow(unsafe_code, reason = "an allocator")]
unsafe extern "C" fn malloc(context: *mut c_void, size: usize) -> *mut c_void {
    let Some(whole) = size.checked_add(HEADER).filter(|whole| take(*whole)) else { return std::ptr::null_mut() };
    // SAFETY: see above.
    unsafe {
        let under = *context.cast::<Allocator>();
        block((under.malloc)(under.context, whole), whole)
    }
}

#[allow(unsafe_code, reason = "an allocator")]
unsafe extern "C" fn calloc(context: *mut c_void, count: usize, size: usize) -> *mut c_void {
    let whole = count.checked_mul(size).and_then(|size| size.checked_add(HEADER));
    let Some(whole) = whole.filter(|whole| take(*whole)) else { return std::ptr::null_mut() };
    // SAFETY: see above.
    unsafe {
        let under = *context.cast::<Allocator>();
        block((under.calloc)(under.context, 1, whole), whole)
    }
}

#[allow(unsafe_code, reason = "an allocator")]
unsafe extern "C" fn realloc(context: *mut c_void, old: *mut c_void, size: usize) -> *mut c_void {
    if old.is_null() {
        // SAFETY: see above.
        return unsafe { malloc(context, size) };
    }
    let Some(whole) = size.checked_add(HEADER).filter(|whole| take(*whole)) else { return std::ptr::null_mut() };
    // SAFETY: see above; what realloc leaves as it is when it fails is still counted.
    unsafe {
        let under = *context.cast::<Allocator>();
        let start = old.byte_sub(HEADER);
        let before = start.cast::<usize>().read();
        let new = (under.realloc)(under.context, start, whole);
        if !new.is_null() {
            give_back(before);
        }
        block(new, whole)
    }
}

#[allow(unsafe_code, reason = "an allocator")]
unsafe extern "C" fn free(context: *mut c_void, old: *mut c_void) {
    if old.is_null() {
        return;
    }
    // SAFETY: see above.
    unsafe {
        let under = *context.cast::<Allocator>();
        let start = old.byte_sub(HEADER);
        give_back(start.cast::<usize>().read());
        (under.free)(under.context, start);
    }
}

/// The part of a new block that is Python's; nothing is counted when there is no block.
///
/// # Safety
///
/// `start` is null or has `whole` bytes, at least a header.
#[allow(unsafe_code, reason = "an allocator")]
unsafe fn block(start: *mut c_void, whole: usize) -> *mut c_void {
    if start.is_null() {
        give_back(whole);
        return start;
    }
    // SAFETY: the caller vouches for it.
    unsafe {
        start.cast::<usize>().write(whole);
        start.byte_add(HEADER)
    }
}

#[allow(unsafe_code, reason = "an allocator")]
unsafe extern "C" fn new_arena(context: *mut c_void, size: usize) -> *mut c_void {
    if !take(size) {
        return std::ptr::null_mut();
    }
    // SAFETY: see above.
    let arena = unsafe {
        let under = *context.cast::<Arenas>();
        (under.alloc)(under.context, size)
    };
    if arena.is_null() {
        give_back(size);
    }
    arena
}

#[allow(unsafe_code, reason = "an allocator")]
unsafe extern "C" fn free_arena(context: *mut c_void, arena: *mut c_void, size: usize) {
    // SAFETY: see above.
    unsafe {
        let under = *context.cast::<Arenas>();
        (under.free)(under.context, arena, size);
    }
    give_back(size);
}
