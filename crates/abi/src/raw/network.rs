//! Callbacks of network filters.

use super::{Buffer, Envoy};

unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_remote_address"]
    pub(crate) fn remote_address(filter: Envoy, address: *mut Buffer, port: *mut u32) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_local_address"]
    pub(crate) fn local_address(filter: Envoy, address: *mut Buffer, port: *mut u32) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_requested_server_name"]
    pub(crate) fn server_name(filter: Envoy, result: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_close_with_details"]
    pub(crate) fn close_with_details(filter: Envoy, kind: u32, details: Buffer);
    #[link_name = "envoy_dynamic_module_callback_network_get_filter_state_bytes"]
    pub(crate) fn filter_state(filter: Envoy, key: Buffer, value: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_get_filter_state_typed"]
    pub(crate) fn filter_state_typed(filter: Envoy, key: Buffer, value: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_set_filter_state_typed"]
    pub(crate) fn set_filter_state_typed(filter: Envoy, key: Buffer, value: Buffer) -> bool;
}
