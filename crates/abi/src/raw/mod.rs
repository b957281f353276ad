//! Declarations of the functions that Envoy offers. Signatures as in `abi.h`; all symbols are in every supported release.

pub(crate) mod access_logger;
pub(crate) mod bootstrap;
pub(crate) mod http;
pub(crate) mod listener;
pub(crate) mod network;

use std::ffi::c_void;

/// An object of Envoy. Only ever handed back.
pub(crate) type Envoy = *mut c_void;

/// Bytes of Envoy or of the module, depending on the direction.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) pointer: *const u8,
    pub(crate) length: usize,
}

/// A header of Envoy or of the module.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) name: *const u8,
    pub(crate) name_length: usize,
    pub(crate) value: *const u8,
    pub(crate) value_length: usize,
}

unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_log"]
    pub(crate) fn log(level: u32, message: Buffer);
    #[link_name = "envoy_dynamic_module_callback_log_enabled"]
    pub(crate) fn log_enabled(level: u32) -> bool;
}
