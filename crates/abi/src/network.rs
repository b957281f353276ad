//! Network filters: they see a connection's beginning, its bytes in both directions, and its end.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::guard::guarded;
use crate::listener::address;
use crate::log::{Level, log};
use crate::module::module;
use crate::object::{drop_object, into_pointer, object};
use crate::raw::{self, Buffer, Envoy};

/// Makes the filters of one configuration; shared by all workers.
pub trait NetworkFilterFactory: Send + Sync {
    /// The filter of one connection.
    fn filter(&self) -> Rc<dyn NetworkFilter>;
}

/// The filter of one connection; lives on one worker.
pub trait NetworkFilter {
    /// The connection is there; nothing was read yet, and nothing connected upstream.
    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Status;
}

/// Whether the next filter is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// It is.
    Continue,
    /// It is not.
    StopIteration,
}

/// A downstream connection, during one call.
pub struct Connection<'c> {
    envoy: Envoy,
    call: PhantomData<&'c mut ()>,
}

/// `ConnectionCloseType::AbortReset`.
const ABORT_RESET: u32 = 4;

impl Connection<'_> {
    /// Where the client is; `None` for other than IP addresses.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        // SAFETY: `self.envoy` is live during the call; the function only writes its two results.
        address(|address, port| unsafe { raw::network::remote_address(self.envoy, address, port) })
    }

    /// Where the client wanted to go.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        // SAFETY: as in `remote_address`.
        address(|address, port| unsafe { raw::network::local_address(self.envoy, address, port) })
    }

    /// Server name of the TLS client hello.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        let name = self.read(|envoy, name| {
            // SAFETY: as in `remote_address`.
            unsafe { raw::network::server_name(envoy, name) }
        })?;
        std::str::from_utf8(name).ok().filter(|name| !name.is_empty())
    }

    /// Bytes that an earlier filter left under that key.
    #[must_use]
    pub fn filter_state(&self, key: &str) -> Option<&[u8]> {
        self.read(|envoy, value| {
            // SAFETY: as in `remote_address`.
            unsafe { raw::network::filter_state(envoy, Buffer::new(key.as_bytes()), value) }
        })
    }

    /// Whether Envoy's own filter state of that name is set.
    #[must_use]
    pub fn has_typed_filter_state(&self, key: &str) -> bool {
        self.read(|envoy, value| {
            // SAFETY: as in `remote_address`.
            unsafe { raw::network::filter_state_typed(envoy, Buffer::new(key.as_bytes()), value) }
        })
        .is_some()
    }

    /// Sets one of Envoy's own filter states by its text form.
    pub fn set_typed_filter_state(&mut self, key: &str, value: &str) -> bool {
        // SAFETY: as in `remote_address`; Envoy copies both.
        unsafe {
            raw::network::set_filter_state_typed(self.envoy, Buffer::new(key.as_bytes()), Buffer::new(value.as_bytes()))
        }
    }

    /// Closes the connection with a TCP reset; `details` is what the log says about it.
    pub fn reset(&mut self, details: &str) {
        // SAFETY: as in `remote_address`; Envoy copies the text.
        unsafe { raw::network::close_with_details(self.envoy, ABORT_RESET, Buffer::new(details.as_bytes())) };
    }

    fn read(&self, get: impl FnOnce(Envoy, *mut Buffer) -> bool) -> Option<&[u8]> {
        let mut buffer = Buffer::EMPTY;
        if !get(self.envoy, &raw mut buffer) {
            return None;
        }
        // SAFETY: Envoy filled the buffer with a view of state of the connection, which only calls on `&mut self` change.
        Some(unsafe { buffer.bytes() })
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_config_new(
    _envoy: Envoy,
    name: Buffer,
    config: Buffer,
) -> *const c_void {
    // SAFETY: Envoy's buffers are readable during the call.
    let (name, config) = unsafe { (name.bytes(), config.bytes()) };
    let make = || {
        let name = String::from_utf8_lossy(name);
        match module().and_then(|module| module.network_filter(&name, config)) {
            Ok(factory) => Box::into_raw(Box::new(factory)).cast_const().cast(),
            Err(error) => {
                log(Level::Error, &format!("network filter {name}: {}", error.0));
                std::ptr::null()
            }
        }
    };
    guarded("network filter configuration", make, std::ptr::null)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_config_destroy(config: *const c_void) {
    // SAFETY: the pointer is the one `config_new` returned, and Envoy gives it up.
    let free = || drop(unsafe { Box::from_raw(config.cast_mut().cast::<Box<dyn NetworkFilterFactory>>()) });
    guarded("network filter configuration", free, || ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_new(config: *const c_void, _envoy: Envoy) -> *const c_void {
    // SAFETY: the pointer is the one `config_new` returned, alive as long as its filters.
    let factory = unsafe { &*config.cast::<Box<dyn NetworkFilterFactory>>() };
    guarded("network filter", || into_pointer(factory.filter()), std::ptr::null)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_new_connection(envoy: Envoy, filter: *const c_void) -> u32 {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn NetworkFilter>(filter) };
    let closed = || {
        Connection { envoy, call: PhantomData }.reset("cilium_filter_panicked");
        Status::StopIteration
    };
    let body = || filter.on_new_connection(&mut Connection { envoy, call: PhantomData });
    guarded("network filter", body, closed) as u32
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_read(_: Envoy, _: *const c_void, _: usize, _: bool) -> u32 {
    Status::Continue as u32
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_write(_: Envoy, _: *const c_void, _: usize, _: bool) -> u32 {
    Status::Continue as u32
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_destroy(filter: *const c_void) {
    // SAFETY: the pointer is the one `new` returned, and Envoy gives it up.
    guarded("network filter", || unsafe { drop_object::<dyn NetworkFilter>(filter) }, || ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_event(_: Envoy, _: *const c_void, _: u32) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_scheduled(_: Envoy, _: *const c_void, _: u64) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_config_scheduled(_: *const c_void, _: u64) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_http_callout_done(_: Envoy, _: *const c_void) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_above_write_buffer_high_watermark(_: Envoy, _: *const c_void) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_below_write_buffer_low_watermark(_: Envoy, _: *const c_void) {}
