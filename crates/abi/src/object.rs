//! Module objects behind Envoy's pointers.
//!
//! An object lives in an `Rc`, and every hook holds a clone of it for as long as it runs: Envoy may destroy a filter
//! from inside one of its own hooks (a local reply can end the stream), and the object must outlive that hook.
//! Hooks only ever see `&T`, so re-entrant hooks never hold two mutable borrows.

use std::ffi::c_void;
use std::rc::Rc;

/// Gives the object to Envoy; taken back by [`drop_object`].
pub(crate) fn into_pointer<T: ?Sized>(object: Rc<T>) -> *const c_void {
    Box::into_raw(Box::new(object)).cast_const().cast()
}

/// The object behind a pointer, kept alive for the caller.
///
/// # Safety
///
/// `pointer` comes from [`into_pointer`] with the same `T`, has not been dropped, and belongs to this thread.
pub(crate) unsafe fn object<T: ?Sized>(pointer: *const c_void) -> Rc<T> {
    // SAFETY: the caller vouches that this is a live `Box<Rc<T>>` of this thread.
    Rc::clone(unsafe { &*pointer.cast::<Rc<T>>() })
}

/// Ends Envoy's share in the object.
///
/// # Safety
///
/// As for [`object`], and the pointer is not used again.
pub(crate) unsafe fn drop_object<T: ?Sized>(pointer: *const c_void) {
    // SAFETY: the caller vouches that the pointer is live and given up here.
    drop(unsafe { Box::from_raw(pointer.cast_mut().cast::<Rc<T>>()) });
}
