//! Callbacks of listener filters.

use super::{Buffer, Envoy};

unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_listener_filter_get_socket_fd"]
    pub(crate) fn socket_fd(filter: Envoy) -> i64;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_get_remote_address"]
    pub(crate) fn remote_address(filter: Envoy, address: *mut Buffer, port: *mut u32) -> bool;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_get_original_dst"]
    pub(crate) fn original_destination(filter: Envoy, address: *mut Buffer, port: *mut u32) -> bool;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_restore_local_address"]
    pub(crate) fn restore_local_address(filter: Envoy, address: Buffer, port: u32, ipv6: bool) -> bool;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_set_socket_option_int"]
    pub(crate) fn set_socket_option(filter: Envoy, level: i64, name: i64, value: i64) -> bool;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_get_requested_server_name"]
    pub(crate) fn server_name(filter: Envoy, result: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_set_filter_state"]
    pub(crate) fn set_filter_state(filter: Envoy, key: Buffer, value: Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_close_socket"]
    pub(crate) fn close_socket(filter: Envoy, details: Buffer);
    #[link_name = "envoy_dynamic_module_callback_listener_filter_get_requested_application_protocols_size"]
    pub(crate) fn application_protocols_size(filter: Envoy) -> usize;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_get_requested_application_protocols"]
    pub(crate) fn application_protocols(filter: Envoy, result: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_set_requested_application_protocols"]
    pub(crate) fn set_application_protocols(filter: Envoy, protocols: *const Buffer, count: usize);
    #[link_name = "envoy_dynamic_module_callback_listener_filter_set_detected_transport_protocol"]
    pub(crate) fn set_transport_protocol(filter: Envoy, protocol: Buffer);
    #[link_name = "envoy_dynamic_module_callback_listener_filter_get_detected_transport_protocol"]
    pub(crate) fn transport_protocol(filter: Envoy, result: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_continue_filter_chain"]
    pub(crate) fn continue_filter_chain(filter: Envoy, success: bool);
    #[link_name = "envoy_dynamic_module_callback_listener_filter_scheduler_new"]
    pub(crate) fn scheduler_new(filter: Envoy) -> Envoy;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_scheduler_commit"]
    pub(crate) fn scheduler_commit(scheduler: Envoy, event: u64);
    #[link_name = "envoy_dynamic_module_callback_listener_filter_scheduler_delete"]
    pub(crate) fn scheduler_delete(scheduler: Envoy);
    #[link_name = "envoy_dynamic_module_callback_listener_filter_config_define_counter"]
    pub(crate) fn define_counter(config: Envoy, name: Buffer, id: *mut usize) -> u32;
    #[link_name = "envoy_dynamic_module_callback_listener_filter_increment_counter"]
    pub(crate) fn increment_counter(filter: Envoy, id: usize, amount: u64) -> u32;
}
