//! What a module consists of, and how Envoy gets hold of it.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use crate::access_logger::AccessLogger;
use crate::bootstrap::{BootstrapConfig, BootstrapExtension};
use crate::http::{HttpFilterConfig, HttpFilterFactory};
use crate::listener::{ListenerFilterConfig, ListenerFilterFactory};
use crate::network::{NetworkFilterConfig, NetworkFilterFactory};
use crate::text::ConfigError;

/// Version of the ABI these declarations follow. Envoy compares it with its own and warns when they differ.
const ABI_VERSION: &CStr = c"v0.2.0";

static MODULE: OnceLock<&'static dyn Module> = OnceLock::new();

/// Makes extensions by name. `config` is the raw value of the extension's `Any` configuration.
pub trait Module: Sync {
    /// A listener filter's configuration. Called on the main thread.
    fn listener_filter(
        &self,
        name: &str,
        config: &[u8],
        envoy: &ListenerFilterConfig,
    ) -> Result<Box<dyn ListenerFilterFactory>, ConfigError>;

    /// A network filter's configuration. Called on the main thread.
    fn network_filter(
        &self,
        name: &str,
        config: &[u8],
        envoy: &NetworkFilterConfig,
    ) -> Result<Box<dyn NetworkFilterFactory>, ConfigError>;

    /// An HTTP filter's configuration, downstream or upstream. Called on the main thread.
    fn http_filter(
        &self,
        name: &str,
        config: &[u8],
        envoy: &HttpFilterConfig,
    ) -> Result<Box<dyn HttpFilterFactory>, ConfigError>;

    /// An access logger. Called on the main thread.
    fn access_logger(&self, name: &str, config: &[u8]) -> Result<Box<dyn AccessLogger>, ConfigError>;

    /// A bootstrap extension. Called on the main thread, before listeners exist.
    fn bootstrap_extension(
        &self,
        name: &str,
        config: &[u8],
        envoy: BootstrapConfig,
    ) -> Result<Box<dyn BootstrapExtension>, ConfigError>;
}

/// Makes `module` the one this library serves; returns the ABI version that Envoy expects.
///
/// To be called, and its value returned, by the library's exported `envoy_dynamic_module_on_program_init`.
pub fn load(module: &'static dyn Module) -> *const c_char {
    // A second load of the same library serves the same module.
    let _ = MODULE.set(module);
    ABI_VERSION.as_ptr()
}

pub(crate) fn module() -> Result<&'static dyn Module, ConfigError> {
    MODULE.get().copied().ok_or_else(|| ConfigError("the module was not initialised by Envoy".to_owned()))
}
