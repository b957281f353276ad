//! Listener filters: they see an accepted connection before any other filter does.

mod scheduler;

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::FromRawFd;
use std::rc::Rc;

use crate::factory::{drop_factory, factory, new_factory};
use crate::guard::{PanicCounter, guarded};
use crate::module::module;
use crate::object::{drop_object, into_pointer, object};
use crate::raw::{self, Buffer, Envoy};
use crate::text::ConfigError;

pub use scheduler::Scheduler;

/// Makes the filters of one configuration; shared by all workers.
pub trait ListenerFilterFactory: Send + Sync {
    /// The filter of one connection.
    fn filter(&self) -> Rc<dyn ListenerFilter>;
}

/// The filter of one accepted connection; lives on one worker.
pub trait ListenerFilter {
    /// The connection was accepted.
    fn on_accept(&self, connection: &mut Accepted<'_>) -> Accept;

    /// An event that a [`Scheduler`] posted has its turn. Called while the connection is held.
    fn on_scheduled(&self, connection: &mut Accepted<'_>, event: u64) -> Accept {
        let _ = (connection, event);
        Accept::Hold
    }
}

/// A filter's configuration on Envoy's side, while it is being made.
pub struct ListenerFilterConfig {
    envoy: Envoy,
}

/// A counter of a filter's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(usize);

static PANICS: PanicCounter<Counter> = PanicCounter::new();

impl ListenerFilterConfig {
    /// Defines a counter, below the statistics prefix of the filter's module configuration.
    pub fn define_counter(&self, name: &str) -> Result<Counter, ConfigError> {
        let mut id = 0;
        // SAFETY: the configuration is live while it is being made.
        let result = unsafe { raw::listener::define_counter(self.envoy, Buffer::new(name.as_bytes()), &raw mut id) };
        if result == 0 { Ok(Counter(id)) } else { Err(ConfigError(format!("Envoy refused the counter {name}"))) }
    }
}

/// What becomes of an accepted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept {
    /// On to the next filter.
    Continue,
    /// It waits for [`ListenerFilter::on_scheduled`], at most as long as Envoy lets listener filters wait.
    Hold,
    /// Closed, with a reason for the log.
    Close(String),
}

/// An accepted connection, during one call.
pub struct Accepted<'c> {
    envoy: Envoy,
    call: PhantomData<&'c mut ()>,
}

impl Accepted<'_> {
    /// Where the client is; `None` for other than IP addresses.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        // SAFETY: `self.envoy` is live during the call; the function only writes its two results.
        address(|address, port| unsafe { raw::listener::remote_address(self.envoy, address, port) })
    }

    /// Where the client wanted to go, in the kernel's eyes: a transparent listener's sockets have the addresses that the
    /// clients connected to, while Envoy takes them for the listener's own.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        // SAFETY: as in `remote_address`.
        let fd = i32::try_from(unsafe { raw::listener::socket_fd(self.envoy) }).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: Envoy has the socket open during the call, and keeps it: nothing here closes it.
        let socket = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(fd) });
        let address = socket.local_addr().ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// The destination before an iptables or nftables `REDIRECT`; `None` without one.
    #[must_use]
    pub fn original_destination(&self) -> Option<SocketAddr> {
        // SAFETY: as in `remote_address`.
        address(|address, port| unsafe { raw::listener::original_destination(self.envoy, address, port) })
    }

    /// Makes `address` the connection's local address; original-destination clusters connect to it.
    pub fn restore_local_address(&mut self, address: SocketAddr) -> bool {
        let text = address.ip().to_string();
        // SAFETY: as in `remote_address`; Envoy copies the text.
        unsafe {
            raw::listener::restore_local_address(
                self.envoy,
                Buffer::new(text.as_bytes()),
                address.port().into(),
                address.is_ipv6(),
            )
        }
    }

    /// Sets an integer socket option of the accepted socket.
    pub fn set_socket_option(&mut self, level: i32, name: i32, value: i32) -> bool {
        // SAFETY: takes numbers only, the connection is live.
        unsafe { raw::listener::set_socket_option(self.envoy, level.into(), name.into(), value.into()) }
    }

    /// Server name of the TLS client hello, if a TLS inspector ran before and found one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        let mut name = Buffer::EMPTY;
        // SAFETY: as in `remote_address`; the name belongs to the connection and outlives the call.
        let bytes = unsafe {
            if !raw::listener::server_name(self.envoy, &raw mut name) {
                return None;
            }
            name.bytes()
        };
        std::str::from_utf8(bytes).ok().filter(|name| !name.is_empty())
    }

    /// Makes bytes readable for the connection's network and HTTP filters.
    pub fn set_filter_state(&mut self, key: &str, value: &[u8]) -> bool {
        // SAFETY: as in `remote_address`; Envoy copies both.
        unsafe { raw::listener::set_filter_state(self.envoy, Buffer::new(key.as_bytes()), Buffer::new(value)) }
    }

    /// The protocols that filter chains' `application_protocols` are matched against.
    #[must_use]
    pub fn application_protocols(&self) -> Vec<String> {
        // SAFETY: as in `remote_address`; the array has the size Envoy asks for, and what it is filled with is copied.
        unsafe {
            let mut protocols = vec![Buffer::EMPTY; raw::listener::application_protocols_size(self.envoy)];
            if protocols.is_empty() || !raw::listener::application_protocols(self.envoy, protocols.as_mut_ptr()) {
                return Vec::new();
            }
            protocols.iter().map(|protocol| String::from_utf8_lossy(protocol.bytes()).into_owned()).collect()
        }
    }

    /// Adds a name to [`Accepted::application_protocols`].
    pub fn add_application_protocol(&mut self, protocol: &str) {
        let kept = self.application_protocols();
        let names: Vec<Buffer> =
            kept.iter().map(String::as_str).chain([protocol]).map(|name| Buffer::new(name.as_bytes())).collect();
        // SAFETY: as in `remote_address`; Envoy copies the names.
        unsafe { raw::listener::set_application_protocols(self.envoy, names.as_ptr(), names.len()) };
    }

    /// What filter chains' `transport_protocol` is matched against, if an inspector ran before and found it.
    #[must_use]
    pub fn transport_protocol(&self) -> Option<&str> {
        let mut name = Buffer::EMPTY;
        // SAFETY: as in `server_name`; the name changes by calls on `&mut self` only.
        let bytes = unsafe {
            if !raw::listener::transport_protocol(self.envoy, &raw mut name) {
                return None;
            }
            name.bytes()
        };
        std::str::from_utf8(bytes).ok()
    }

    /// A way to have [`ListenerFilter::on_scheduled`] called, from any thread.
    #[must_use]
    pub fn scheduler(&self) -> Scheduler {
        // SAFETY: as in `remote_address`.
        Scheduler::new(unsafe { raw::listener::scheduler_new(self.envoy) })
    }

    /// Counts one.
    pub fn increment(&self, counter: Counter) {
        // SAFETY: as in `remote_address`. The only failure is an unknown counter, which `Counter` rules out.
        let _ = unsafe { raw::listener::increment_counter(self.envoy, counter.0, 1) };
    }

    /// Changes what filter chains' `transport_protocol` is matched against.
    pub fn set_transport_protocol(&mut self, protocol: &str) {
        // SAFETY: as in `remote_address`; Envoy copies the name.
        unsafe { raw::listener::set_transport_protocol(self.envoy, Buffer::new(protocol.as_bytes())) };
    }
}

/// Reads an address that Envoy gives as text and a port.
pub(crate) fn address(get: impl FnOnce(*mut Buffer, *mut u32) -> bool) -> Option<SocketAddr> {
    let (mut text, mut port) = (Buffer::EMPTY, 0);
    if !get(&raw mut text, &raw mut port) {
        return None;
    }
    // SAFETY: Envoy filled the buffer; the text is parsed before anything else is called.
    let text = std::str::from_utf8(unsafe { text.bytes() }).ok()?;
    // Some functions give "[::1]", some "::1".
    let ip: IpAddr = text.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

const CONTINUE: u32 = 0;
const STOP: u32 = 1;

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_config_new(
    envoy: Envoy,
    name: Buffer,
    config: Buffer,
) -> *const c_void {
    let make = |name: &str, config: &[u8]| {
        let envoy = ListenerFilterConfig { envoy };
        let counted = envoy.define_counter(PanicCounter::<Counter>::NAME).and_then(|counter| PANICS.defined(counter));
        counted.and_then(|()| module()?.listener_filter(name, config, &envoy))
    };
    // SAFETY: this is a call of Envoy's.
    unsafe { new_factory::<dyn ListenerFilterFactory>("listener filter", name, config, make) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_config_destroy(config: *const c_void) {
    // SAFETY: the pointer is the one `config_new` returned, and Envoy gives it up.
    unsafe { drop_factory::<dyn ListenerFilterFactory>("listener filter", config) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_new(config: *const c_void, _envoy: Envoy) -> *const c_void {
    // SAFETY: the pointer is the one `config_new` returned, alive as long as its filters.
    let factory = unsafe { factory::<dyn ListenerFilterFactory>(config) };
    guarded("listener filter", || into_pointer(factory.filter()), std::ptr::null)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_on_accept(envoy: Envoy, filter: *const c_void) -> u32 {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn ListenerFilter>(filter) };
    match call(envoy, |connection| filter.on_accept(connection)) {
        Accept::Continue => CONTINUE,
        Accept::Hold => STOP,
        Accept::Close(reason) => {
            close(envoy, &reason);
            STOP
        }
    }
}

fn call(envoy: Envoy, body: impl FnOnce(&mut Accepted<'_>) -> Accept) -> Accept {
    let accepted = || Accepted { envoy, call: PhantomData };
    guarded(
        "listener filter",
        || body(&mut accepted()),
        || {
            if let Some(counter) = PANICS.get() {
                accepted().increment(counter);
            }
            Accept::Close("cilium_filter_panicked".to_owned())
        },
    )
}

fn close(envoy: Envoy, reason: &str) {
    // SAFETY: the connection is live during the calls of its filter; Envoy copies the text.
    unsafe { raw::listener::close_socket(envoy, Buffer::new(reason.as_bytes())) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_destroy(filter: *const c_void) {
    // SAFETY: the pointer is the one `new` returned, and Envoy gives it up.
    guarded("listener filter", || unsafe { drop_object::<dyn ListenerFilter>(filter) }, || ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_on_data(_: Envoy, _: *const c_void, _: usize) -> u32 {
    // Bytes come to the filter that the connection stands at, and it stands only where it is held.
    STOP
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_get_max_read_bytes(_: Envoy, _: *const c_void) -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_on_close(_: Envoy, _: *const c_void) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_scheduled(envoy: Envoy, filter: *const c_void, event: u64) {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn ListenerFilter>(filter) };
    let go_on = match call(envoy, |connection| filter.on_scheduled(connection, event)) {
        Accept::Hold => return,
        Accept::Continue => true,
        Accept::Close(reason) => {
            close(envoy, &reason);
            false
        }
    };
    // SAFETY: the connection is live during the call. Envoy frees its filters later, not from within.
    unsafe { raw::listener::continue_filter_chain(envoy, go_on) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_config_scheduled(_: *const c_void, _: u64) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_http_callout_done(_: Envoy, _: *const c_void) {}
