//! Callbacks of bootstrap extensions.

use super::{Buffer, Envoy};

unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_new"]
    pub(crate) fn scheduler_new(config: Envoy) -> Envoy;
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_commit"]
    pub(crate) fn scheduler_commit(scheduler: Envoy, event: u64);
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_delete"]
    pub(crate) fn scheduler_delete(scheduler: Envoy);
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_timer_new"]
    pub(crate) fn timer_new(config: Envoy) -> Envoy;
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_timer_enable"]
    pub(crate) fn timer_enable(timer: Envoy, milliseconds: u64);
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_timer_delete"]
    pub(crate) fn timer_delete(timer: Envoy);
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_signal_init_complete"]
    pub(crate) fn signal_init_complete(config: Envoy);
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_register_admin_handler"]
    pub(crate) fn register_admin_handler(
        config: Envoy,
        path: Buffer,
        help: Buffer,
        removable: bool,
        mutates: bool,
    ) -> bool;
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_admin_set_response"]
    pub(crate) fn admin_set_response(config: Envoy, body: Buffer);
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_define_gauge"]
    pub(crate) fn define_gauge(
        config: Envoy,
        name: Buffer,
        labels: *const Buffer,
        labels_size: usize,
        id: *mut usize,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_set_gauge"]
    pub(crate) fn set_gauge(config: Envoy, id: usize, labels: *const Buffer, labels_size: usize, value: u64) -> u32;
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_define_counter"]
    pub(crate) fn define_counter(
        config: Envoy,
        name: Buffer,
        labels: *const Buffer,
        labels_size: usize,
        id: *mut usize,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_bootstrap_extension_config_increment_counter"]
    pub(crate) fn increment_counter(
        config: Envoy,
        id: usize,
        labels: *const Buffer,
        labels_size: usize,
        amount: u64,
    ) -> u32;
}
