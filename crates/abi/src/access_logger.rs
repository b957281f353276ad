//! Access loggers: they hear when Envoy would write a line to an access log.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::guard::guarded;
use crate::log::{Level, log};
use crate::module::module;
use crate::raw::{self, Buffer, Envoy};

/// One configured access logger; shared by all workers.
pub trait AccessLogger: Send + Sync {
    /// Envoy writes an entry, on the worker that it is about.
    fn on_log(&self, entry: &LogEntry<'_>, occasion: Occasion);
}

/// Why an entry is written; `envoy.data.accesslog.v3.AccessLogType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// `TcpUpstreamConnected`: the upstream connection of a TCP proxy is there; nothing has passed yet.
    UpstreamConnected,
    /// Another one.
    Other,
}

const TCP_UPSTREAM_CONNECTED: u32 = 1;

/// What an entry is about, during one call.
pub struct LogEntry<'c> {
    envoy: Envoy,
    call: PhantomData<&'c ()>,
}

impl LogEntry<'_> {
    /// Envoy's number of the downstream connection; the same as [`crate::network::Connection::id`].
    #[must_use]
    pub fn connection_id(&self) -> u64 {
        // SAFETY: `self.envoy` is live during the call.
        unsafe { raw::access_logger::connection_id(self.envoy) }
    }
}

type Shared = Arc<dyn AccessLogger>;

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_new(
    _envoy: Envoy,
    name: Buffer,
    config: Buffer,
) -> *const c_void {
    // SAFETY: Envoy's buffers are readable during the call.
    let (name, config) = unsafe { (name.bytes(), config.bytes()) };
    let make = || {
        let name = String::from_utf8_lossy(name);
        match module().and_then(|module| module.access_logger(&name, config)) {
            Ok(logger) => Box::into_raw(Box::<Shared>::new(Arc::from(logger))).cast_const().cast(),
            Err(error) => {
                log(Level::Error, &format!("access logger {name}: {}", error.0));
                std::ptr::null()
            }
        }
    };
    guarded("access logger configuration", make, std::ptr::null)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_destroy(config: *const c_void) {
    // SAFETY: the pointer is the one `config_new` returned, and Envoy gives it up.
    guarded(
        "access logger configuration",
        || drop(unsafe { Box::from_raw(config.cast_mut().cast::<Shared>()) }),
        || (),
    );
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_new(config: *const c_void, _envoy: Envoy) -> *const c_void {
    // SAFETY: the pointer is the one `config_new` returned, and not given up yet.
    let logger = unsafe { &*config.cast::<Shared>() };
    guarded("access logger", || Box::into_raw(Box::new(Arc::clone(logger))).cast_const().cast(), std::ptr::null)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_log(envoy: Envoy, logger: *const c_void, occasion: u32) {
    // SAFETY: the pointer is the one `new` returned, and not given up yet.
    let logger = unsafe { &*logger.cast::<Shared>() };
    let occasion = if occasion == TCP_UPSTREAM_CONNECTED { Occasion::UpstreamConnected } else { Occasion::Other };
    guarded("access logger", || logger.on_log(&LogEntry { envoy, call: PhantomData }, occasion), || ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_destroy(logger: *const c_void) {
    // SAFETY: the pointer is the one `new` returned, and Envoy gives it up.
    guarded("access logger", || drop(unsafe { Box::from_raw(logger.cast_mut().cast::<Shared>()) }), || ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_flush(_: *const c_void) {}
