//! Bootstrap extensions: one object per Envoy process, on the main thread.

use std::ffi::c_void;
use std::rc::Rc;
use std::time::Duration;

use crate::guard::guarded;
use crate::log::{Level, log};
use crate::module::module;
use crate::raw::{self, Buffer, Envoy};
use crate::text::ConfigError;

/// What a bootstrap extension does. All calls come on the main thread.
pub trait BootstrapExtension {
    /// An event that a [`Scheduler`] posted has its turn.
    fn on_scheduled(&self, envoy: &BootstrapConfig, event: u64);

    /// The [`Timer`] has run out.
    fn on_timer(&self, envoy: &BootstrapConfig);

    /// A request for the admin path that was registered.
    fn on_admin_request(&self, method: &str, path: &str) -> AdminResponse;

    /// Envoy shuts down; the extension's threads must be gone when this returns.
    fn on_shutdown(&self);
}

/// Answer of the admin interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminResponse {
    /// HTTP status.
    pub status: u32,
    /// Body.
    pub body: String,
}

/// The extension's configuration on Envoy's side. Main thread only.
pub struct BootstrapConfig {
    envoy: Envoy,
}

/// A gauge of the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge(usize);

/// A counter of the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(usize);

impl BootstrapConfig {
    /// Lets Envoy go on with its start: listeners open. Idempotent in effect; call once.
    pub fn signal_init_complete(&self) {
        // SAFETY: the configuration is live on the main thread, where this type stays.
        unsafe { raw::bootstrap::signal_init_complete(self.envoy) };
    }

    /// A way for other threads to have [`BootstrapExtension::on_scheduled`] called.
    #[must_use]
    pub fn scheduler(&self) -> Scheduler {
        // SAFETY: as in `signal_init_complete`.
        Scheduler { envoy: unsafe { raw::bootstrap::scheduler_new(self.envoy) } }
    }

    /// Has [`BootstrapExtension::on_timer`] called once, after `delay`, unless the timer is dropped before.
    #[must_use]
    pub fn timer(&self, delay: Duration) -> Timer {
        // SAFETY: as in `signal_init_complete`.
        let timer = Timer { envoy: unsafe { raw::bootstrap::timer_new(self.envoy) } };
        // SAFETY: the timer is live until it is dropped; this is the main thread.
        unsafe { raw::bootstrap::timer_enable(timer.envoy, u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)) };
        timer
    }

    /// Serves exactly that path of the admin interface, read-only.
    #[must_use]
    pub fn register_admin_handler(&self, path: &str, help: &str) -> bool {
        let (path, help) = (Buffer::new(path.as_bytes()), Buffer::new(help.as_bytes()));
        // SAFETY: as in `signal_init_complete`; Envoy copies both texts.
        unsafe { raw::bootstrap::register_admin_handler(self.envoy, path, help, true, false) }
    }

    /// Defines a gauge, below the statistics prefix of the extension's module configuration.
    pub fn define_gauge(&self, name: &str) -> Result<Gauge, ConfigError> {
        let mut id = 0;
        let buffer = Buffer::new(name.as_bytes());
        // SAFETY: as in `signal_init_complete`; no labels are passed.
        let result = unsafe { raw::bootstrap::define_gauge(self.envoy, buffer, std::ptr::null(), 0, &raw mut id) };
        if result == 0 { Ok(Gauge(id)) } else { Err(ConfigError(format!("Envoy refused the gauge {name}"))) }
    }

    /// Sets a gauge.
    pub fn set_gauge(&self, gauge: Gauge, value: u64) {
        // SAFETY: as in `signal_init_complete`. The only failure is an unknown gauge, which `Gauge` rules out.
        let _ = unsafe { raw::bootstrap::set_gauge(self.envoy, gauge.0, std::ptr::null(), 0, value) };
    }

    /// Defines a counter, below the statistics prefix of the extension's module configuration.
    pub fn define_counter(&self, name: &str) -> Result<Counter, ConfigError> {
        let mut id = 0;
        let buffer = Buffer::new(name.as_bytes());
        // SAFETY: as in `signal_init_complete`; no labels are passed.
        let result = unsafe { raw::bootstrap::define_counter(self.envoy, buffer, std::ptr::null(), 0, &raw mut id) };
        if result == 0 { Ok(Counter(id)) } else { Err(ConfigError(format!("Envoy refused the counter {name}"))) }
    }

    /// Adds to a counter.
    pub fn increment_counter(&self, counter: Counter, amount: u64) {
        // SAFETY: as in `set_gauge`.
        let _ = unsafe { raw::bootstrap::increment_counter(self.envoy, counter.0, std::ptr::null(), 0, amount) };
    }
}

/// Posts events to the main thread, from any thread.
pub struct Scheduler {
    envoy: Envoy,
}

// SAFETY: Envoy's scheduler is made for use from other threads: it posts to the main thread's dispatcher, and holds
// the configuration weakly, so that events after its end are dropped.
unsafe impl Send for Scheduler {}
// SAFETY: as above; `commit` does not change the object.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    /// Has `on_scheduled` called with `event`, soon.
    pub fn commit(&self, event: u64) {
        // SAFETY: the scheduler is live until it is dropped.
        unsafe { raw::bootstrap::scheduler_commit(self.envoy, event) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: Envoy allocated it for us and does not free it itself.
        unsafe { raw::bootstrap::scheduler_delete(self.envoy) };
    }
}

/// A timer of the main thread, where it stays. Not to be dropped within [`BootstrapExtension::on_timer`].
pub struct Timer {
    envoy: Envoy,
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: Envoy allocated it for us; the type is not `Send`, so this is the main thread.
        unsafe { raw::bootstrap::timer_delete(self.envoy) };
    }
}

type Extension = Rc<dyn BootstrapExtension>;

/// Clones the extension behind a pointer of `config_new`.
///
/// # Safety
///
/// `pointer` comes from `config_new`, is not destroyed yet, and this is the main thread.
unsafe fn extension(pointer: *const c_void) -> Extension {
    // SAFETY: the caller vouches for the pointer.
    unsafe { crate::object::object::<dyn BootstrapExtension>(pointer) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_config_new(
    envoy: Envoy,
    name: Buffer,
    config: Buffer,
) -> *const c_void {
    // SAFETY: Envoy's buffers are readable during the call.
    let (name, config) = unsafe { (name.bytes(), config.bytes()) };
    let make = || {
        let name = String::from_utf8_lossy(name);
        match module().and_then(|module| module.bootstrap_extension(&name, config, BootstrapConfig { envoy })) {
            Ok(extension) => crate::object::into_pointer::<dyn BootstrapExtension>(Rc::from(extension)),
            Err(error) => {
                log(Level::Error, &format!("bootstrap extension {name}: {}", error.0));
                std::ptr::null()
            }
        }
    };
    guarded("bootstrap extension", make, std::ptr::null)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_config_destroy(config: *const c_void) {
    // SAFETY: the pointer is the one `config_new` returned, and Envoy gives it up.
    guarded("bootstrap extension", || unsafe { crate::object::drop_object::<dyn BootstrapExtension>(config) }, || ());
}

/// The configuration is the extension; Envoy gets the same pointer for both.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_new(config: *const c_void, _envoy: Envoy) -> *const c_void {
    config
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_config_scheduled(
    envoy: Envoy,
    config: *const c_void,
    event: u64,
) {
    // SAFETY: the pointer is the one `config_new` returned; this is the main thread.
    let extension = unsafe { extension(config) };
    guarded("bootstrap extension", || extension.on_scheduled(&BootstrapConfig { envoy }, event), || ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_timer_fired(
    envoy: Envoy,
    config: *const c_void,
    _timer: Envoy,
) {
    // SAFETY: the pointer is the one `config_new` returned; this is the main thread.
    let extension = unsafe { extension(config) };
    guarded("bootstrap extension", || extension.on_timer(&BootstrapConfig { envoy }), || ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_admin_request(
    envoy: Envoy,
    config: *const c_void,
    method: Buffer,
    path: Buffer,
    _body: Buffer,
) -> u32 {
    // SAFETY: the pointer is the one `config_new` returned; Envoy's buffers are readable during the call.
    let (extension, method, path) = unsafe { (extension(config), method.bytes(), path.bytes()) };
    let answer = || extension.on_admin_request(&String::from_utf8_lossy(method), &String::from_utf8_lossy(path));
    let failed = || AdminResponse { status: 500, body: "the request made the module panic\n".to_owned() };
    let response = guarded("admin request", answer, failed);
    // SAFETY: the request is being answered right now; Envoy copies the body.
    unsafe { raw::bootstrap::admin_set_response(envoy, Buffer::new(response.body.as_bytes())) };
    response.status
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_bootstrap_extension_shutdown(
    _envoy: Envoy,
    extension_pointer: *const c_void,
    done: extern "C" fn(*mut c_void),
    context: *mut c_void,
) {
    // SAFETY: the pointer is the one `config_new` returned; this is the main thread.
    let extension = unsafe { extension(extension_pointer) };
    guarded("bootstrap extension", || extension.on_shutdown(), || ());
    done(context);
}

macro_rules! unused {
    ($($hook:ident)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $hook() {}
    )* };
}

unused! {
    envoy_dynamic_module_on_bootstrap_extension_cluster_add_or_update
    envoy_dynamic_module_on_bootstrap_extension_cluster_removal
    envoy_dynamic_module_on_bootstrap_extension_destroy
    envoy_dynamic_module_on_bootstrap_extension_drain_started
    envoy_dynamic_module_on_bootstrap_extension_file_changed
    envoy_dynamic_module_on_bootstrap_extension_http_callout_done
    envoy_dynamic_module_on_bootstrap_extension_listener_add_or_update
    envoy_dynamic_module_on_bootstrap_extension_listener_removal
    envoy_dynamic_module_on_bootstrap_extension_server_initialized
    envoy_dynamic_module_on_bootstrap_extension_worker_thread_initialized
}
