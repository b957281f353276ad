//! A module whose filters panic, each when its configuration is its name.

use std::ffi::c_char;
use std::rc::Rc;

use cilium_abi::access_logger::AccessLogger;
use cilium_abi::bootstrap::{BootstrapConfig, BootstrapExtension};
use cilium_abi::http::{HeadersStatus, HttpFilter, HttpFilterConfig, HttpFilterFactory, Stream};
use cilium_abi::listener::{Accept, Accepted, ListenerFilter, ListenerFilterConfig, ListenerFilterFactory};
use cilium_abi::network::{Connection, NetworkFilter, NetworkFilterConfig, NetworkFilterFactory, Status};
use cilium_abi::{ConfigError, Module};

struct Panicking;

/// Filter and factory in one: panics if told to.
#[derive(Clone, Copy)]
struct Fuse(bool);

impl Fuse {
    fn new(name: &str, config: &[u8]) -> Self {
        Self(config == name.as_bytes())
    }

    fn burn(self, place: &str) {
        assert!(!self.0, "burnt in {place}");
    }
}

impl Module for Panicking {
    fn listener_filter(
        &self,
        name: &str,
        config: &[u8],
        _envoy: &ListenerFilterConfig,
    ) -> Result<Box<dyn ListenerFilterFactory>, ConfigError> {
        Ok(Box::new(Fuse::new(name, config)))
    }

    fn network_filter(
        &self,
        name: &str,
        config: &[u8],
        _envoy: &NetworkFilterConfig,
    ) -> Result<Box<dyn NetworkFilterFactory>, ConfigError> {
        Ok(Box::new(Fuse::new(name, config)))
    }

    fn http_filter(
        &self,
        name: &str,
        config: &[u8],
        _envoy: &HttpFilterConfig,
    ) -> Result<Box<dyn HttpFilterFactory>, ConfigError> {
        Ok(Box::new(Fuse::new(name, config)))
    }

    fn access_logger(&self, _name: &str, _config: &[u8]) -> Result<Box<dyn AccessLogger>, ConfigError> {
        Err(ConfigError("none here".to_owned()))
    }

    fn bootstrap_extension(
        &self,
        _name: &str,
        _config: &[u8],
        _envoy: BootstrapConfig,
    ) -> Result<Box<dyn BootstrapExtension>, ConfigError> {
        Err(ConfigError("none here".to_owned()))
    }
}

impl ListenerFilterFactory for Fuse {
    fn filter(&self) -> Rc<dyn ListenerFilter> {
        Rc::new(*self)
    }
}

impl ListenerFilter for Fuse {
    fn on_accept(&self, _connection: &mut Accepted<'_>) -> Accept {
        self.burn("on_accept");
        Accept::Continue
    }
}

impl NetworkFilterFactory for Fuse {
    fn filter(&self) -> Rc<dyn NetworkFilter> {
        Rc::new(*self)
    }
}

impl NetworkFilter for Fuse {
    fn on_new_connection(&self, _connection: &mut Connection<'_>) -> Status {
        self.burn("on_new_connection");
        Status::Continue
    }
}

impl HttpFilterFactory for Fuse {
    fn filter(&self) -> Rc<dyn HttpFilter> {
        Rc::new(*self)
    }
}

impl HttpFilter for Fuse {
    fn on_request_headers(&self, _stream: &mut Stream<'_>, _end_stream: bool) -> HeadersStatus {
        self.burn("on_request_headers");
        HeadersStatus::Continue
    }

    fn on_response_headers(&self, _stream: &mut Stream<'_>, _end_stream: bool) -> HeadersStatus {
        HeadersStatus::Continue
    }

    fn on_stream_complete(&self, _stream: &mut Stream<'_>) {}
}

/// Called by Envoy when it loads the library.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    cilium_abi::load(&Panicking)
}
