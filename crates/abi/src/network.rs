//! Network filters: they see a connection's beginning, its bytes in both directions, and its end.

mod counter;
mod data;
mod peek;

use std::ffi::c_void;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::factory::{drop_factory, factory, new_factory};
use crate::guard::{PanicCounter, guarded};
use crate::listener::address;
use crate::module::module;
use crate::object::{drop_object, into_pointer, object};
use crate::raw::{self, Buffer, Envoy};

pub use counter::{Counter, NetworkFilterConfig};
pub use data::Data;

/// Makes the filters of one configuration; shared by all workers.
pub trait NetworkFilterFactory: Send + Sync {
    /// The filter of one connection.
    fn filter(&self) -> Rc<dyn NetworkFilter>;
}

/// The filter of one connection; lives on one worker.
pub trait NetworkFilter {
    /// The connection is there; nothing was read yet, and nothing connected upstream.
    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Status;

    /// Bytes, or the end, came from the client. [`Status::StopIteration`] keeps them until
    /// [`Connection::continue_reading`].
    fn on_read(&self, connection: &mut Connection<'_>, end_stream: bool) -> Status {
        let _ = (connection, end_stream);
        Status::Continue
    }

    /// Bytes, or the end, are about to go to the client. [`Status::StopIteration`] holds them back.
    fn on_write(&self, connection: &mut Connection<'_>, end_stream: bool) -> Status {
        let _ = (connection, end_stream);
        Status::Continue
    }

    /// An event that a [`Scheduler`] posted has its turn.
    fn on_scheduled(&self, connection: &mut Connection<'_>, event: u64) {
        let _ = (connection, event);
    }

    /// The connection was closed, by whomever; may come within one of the filter's own calls to Envoy. A [`Scheduler`] that
    /// another thread uses must be dropped here.
    fn on_closed(&self) {}
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

static PANICS: PanicCounter<Counter> = PanicCounter::new();

/// `ConnectionCloseType::NoFlush`.
const NO_FLUSH: u32 = 1;

/// `ConnectionCloseType::AbortReset`.
const ABORT_RESET: u32 = 4;

/// `SocketOption::STATE_PREBIND`.
const PREBIND: u32 = 0;

/// `ConnectionEvent::RemoteClose` and `ConnectionEvent::LocalClose`.
const CLOSES: [u32; 2] = [0, 1];

/// Posts events to one filter, on its worker. It is to be dropped before the filter's worker ends. On other threads than the
/// worker it may be used until [`NetworkFilter::on_closed`] only: Envoy keeps the filter during [`Scheduler::commit`], and
/// would destroy it on that thread if the worker gave it up meanwhile.
pub struct Scheduler {
    envoy: Envoy,
}

// SAFETY: Envoy's scheduler is made for use from other threads: it posts to the worker's dispatcher, and holds the
// filter weakly.
unsafe impl Send for Scheduler {}

impl Scheduler {
    /// Has [`NetworkFilter::on_scheduled`] called with `event`, soon; never, when the connection ends before.
    pub fn commit(&self, event: u64) {
        // SAFETY: the scheduler is live until it is dropped, and holds the filter weakly.
        unsafe { raw::network::scheduler_commit(self.envoy, event) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: Envoy allocated it for us and does not free it itself.
        unsafe { raw::network::scheduler_delete(self.envoy) };
    }
}

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
        self.typed_filter_state(key).is_some()
    }

    /// One of Envoy's own filter states in its text form; `None` when it is not set.
    #[must_use]
    pub fn typed_filter_state(&self, key: &str) -> Option<&str> {
        let text = self.read(|envoy, value| {
            // SAFETY: as in `remote_address`.
            unsafe { raw::network::filter_state_typed(envoy, Buffer::new(key.as_bytes()), value) }
        })?;
        std::str::from_utf8(text).ok()
    }

    /// Sets one of Envoy's own filter states by its text form.
    pub fn set_typed_filter_state(&mut self, key: &str, value: &str) -> bool {
        // SAFETY: as in `remote_address`; Envoy copies both.
        unsafe {
            raw::network::set_filter_state_typed(self.envoy, Buffer::new(key.as_bytes()), Buffer::new(value.as_bytes()))
        }
    }

    /// Envoy's number of the connection, unique in the process.
    #[must_use]
    pub fn id(&self) -> u64 {
        // SAFETY: `self.envoy` is live during the call.
        unsafe { raw::network::connection_id(self.envoy) }
    }

    /// Whether load balancing chose a host.
    #[must_use]
    pub fn has_upstream_host(&self) -> bool {
        // SAFETY: as in `id`.
        unsafe { raw::network::has_upstream_host(self.envoy) }
    }

    /// The host that load balancing chose; `None` before it did, and for other than IP addresses.
    #[must_use]
    pub fn upstream_host(&self) -> Option<SocketAddr> {
        // SAFETY: as in `remote_address`.
        address(|address, port| unsafe { raw::network::upstream_host_address(self.envoy, address, port) })
    }

    /// Has the option set on the sockets of upstream connections made for this one, before they are bound. Connections
    /// with other values are not shared with it.
    pub fn set_upstream_option(&mut self, level: i32, name: i32, value: i32) {
        // SAFETY: takes numbers only, the connection is live.
        unsafe {
            raw::network::set_socket_option_int(self.envoy, level.into(), name.into(), PREBIND, value.into());
        }
    }

    /// As [`Connection::set_upstream_option`], for values that are not integers.
    pub fn set_upstream_option_bytes(&mut self, level: i32, name: i32, value: &[u8]) {
        // SAFETY: as in `remote_address`; Envoy copies the value.
        unsafe {
            raw::network::set_socket_option_bytes(self.envoy, level.into(), name.into(), PREBIND, Buffer::new(value));
        }
    }

    /// Goes on with bytes that [`NetworkFilter::on_read`] kept.
    pub fn continue_reading(&mut self) {
        // SAFETY: as in `id`.
        unsafe { raw::network::continue_reading(self.envoy) };
    }

    /// A way to have [`NetworkFilter::on_scheduled`] called later, from outside of the filter's own calls.
    #[must_use]
    pub fn scheduler(&self) -> Scheduler {
        // SAFETY: as in `id`.
        Scheduler { envoy: unsafe { raw::network::scheduler_new(self.envoy) } }
    }

    /// Closes the connection with a TCP reset; `details` is what the log says about it.
    pub fn reset(&mut self, details: &str) {
        // SAFETY: as in `remote_address`; Envoy copies the text.
        unsafe { raw::network::close_with_details(self.envoy, ABORT_RESET, Buffer::new(details.as_bytes())) };
    }

    /// Closes the connection without waiting for the client to take what was written.
    pub fn close(&mut self, details: &str) {
        // SAFETY: as in `reset`.
        unsafe { raw::network::close_with_details(self.envoy, NO_FLUSH, Buffer::new(details.as_bytes())) };
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
    envoy: Envoy,
    name: Buffer,
    config: Buffer,
) -> *const c_void {
    let make = |name: &str, config: &[u8]| {
        let envoy = NetworkFilterConfig::new(envoy);
        let counted = envoy.define_counter(PanicCounter::<Counter>::NAME).and_then(|counter| PANICS.defined(counter));
        counted.and_then(|()| module()?.network_filter(name, config, &envoy))
    };
    // SAFETY: this is a call of Envoy's.
    unsafe { new_factory::<dyn NetworkFilterFactory>("network filter", name, config, make) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_config_destroy(config: *const c_void) {
    // SAFETY: the pointer is the one `config_new` returned, and Envoy gives it up.
    unsafe { drop_factory::<dyn NetworkFilterFactory>("network filter", config) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_new(config: *const c_void, _envoy: Envoy) -> *const c_void {
    // SAFETY: the pointer is the one `config_new` returned, alive as long as its filters.
    let factory = unsafe { factory::<dyn NetworkFilterFactory>(config) };
    guarded("network filter", || into_pointer(factory.filter()), std::ptr::null)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_new_connection(envoy: Envoy, filter: *const c_void) -> u32 {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn NetworkFilter>(filter) };
    let body = || filter.on_new_connection(&mut Connection { envoy, call: PhantomData });
    guarded("network filter", body, || closed(envoy)) as u32
}

/// What becomes of the connection of a filter that panicked.
fn closed(envoy: Envoy) -> Status {
    let mut connection = Connection { envoy, call: PhantomData };
    if let Some(counter) = PANICS.get() {
        connection.increment(counter);
    }
    connection.reset("cilium_filter_panicked");
    Status::StopIteration
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_read(
    envoy: Envoy,
    filter: *const c_void,
    _length: usize,
    end_stream: bool,
) -> u32 {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn NetworkFilter>(filter) };
    let body = || filter.on_read(&mut Connection { envoy, call: PhantomData }, end_stream);
    guarded("network filter", body, || closed(envoy)) as u32
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_write(
    envoy: Envoy,
    filter: *const c_void,
    _length: usize,
    end_stream: bool,
) -> u32 {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn NetworkFilter>(filter) };
    let body = || filter.on_write(&mut Connection { envoy, call: PhantomData }, end_stream);
    guarded("network filter", body, || closed(envoy)) as u32
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_destroy(filter: *const c_void) {
    // SAFETY: the pointer is the one `new` returned, and Envoy gives it up.
    guarded("network filter", || unsafe { drop_object::<dyn NetworkFilter>(filter) }, || ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_event(_: Envoy, filter: *const c_void, event: u32) {
    if CLOSES.contains(&event) {
        // SAFETY: the pointer is the one `new` returned, on the same worker.
        let filter = unsafe { object::<dyn NetworkFilter>(filter) };
        guarded("network filter", || filter.on_closed(), || ());
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_scheduled(envoy: Envoy, filter: *const c_void, event: u64) {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn NetworkFilter>(filter) };
    let body = || filter.on_scheduled(&mut Connection { envoy, call: PhantomData }, event);
    guarded("network filter", body, || {
        closed(envoy);
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_config_scheduled(_: *const c_void, _: u64) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_http_callout_done(_: Envoy, _: *const c_void) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_above_write_buffer_high_watermark(_: Envoy, _: *const c_void) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_below_write_buffer_low_watermark(_: Envoy, _: *const c_void) {}
