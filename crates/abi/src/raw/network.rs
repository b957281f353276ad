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
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_connection_id"]
    pub(crate) fn connection_id(filter: Envoy) -> u64;
    #[link_name = "envoy_dynamic_module_callback_network_filter_has_upstream_host"]
    pub(crate) fn has_upstream_host(filter: Envoy) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_upstream_host_address"]
    pub(crate) fn upstream_host_address(filter: Envoy, address: *mut Buffer, port: *mut u32) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_set_socket_option_int"]
    pub(crate) fn set_socket_option_int(filter: Envoy, level: i64, name: i64, state: u32, value: i64);
    #[link_name = "envoy_dynamic_module_callback_network_set_socket_option_bytes"]
    pub(crate) fn set_socket_option_bytes(filter: Envoy, level: i64, name: i64, state: u32, value: Buffer);
    #[link_name = "envoy_dynamic_module_callback_network_filter_continue_reading"]
    pub(crate) fn continue_reading(filter: Envoy);
    #[link_name = "envoy_dynamic_module_callback_network_filter_scheduler_new"]
    pub(crate) fn scheduler_new(filter: Envoy) -> Envoy;
    #[link_name = "envoy_dynamic_module_callback_network_filter_scheduler_commit"]
    pub(crate) fn scheduler_commit(scheduler: Envoy, event: u64);
    #[link_name = "envoy_dynamic_module_callback_network_filter_scheduler_delete"]
    pub(crate) fn scheduler_delete(scheduler: Envoy);
    #[link_name = "envoy_dynamic_module_callback_network_filter_config_define_counter"]
    pub(crate) fn define_counter(config: Envoy, name: Buffer, id: *mut usize) -> u32;
    #[link_name = "envoy_dynamic_module_callback_network_filter_increment_counter"]
    pub(crate) fn increment_counter(filter: Envoy, id: usize, amount: u64) -> u32;
    #[link_name = "envoy_dynamic_module_callback_network_filter_enable_half_close"]
    pub(crate) fn enable_half_close(filter: Envoy, enabled: bool);
    #[link_name = "envoy_dynamic_module_callback_network_filter_read_disable"]
    pub(crate) fn read_disable(filter: Envoy, disabled: bool) -> u32;
    #[link_name = "envoy_dynamic_module_callback_network_filter_disable_close"]
    pub(crate) fn disable_close(filter: Envoy, disabled: bool);
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_read_buffer_chunks_size"]
    pub(crate) fn read_chunks_size(filter: Envoy) -> usize;
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_read_buffer_chunks"]
    pub(crate) fn read_chunks(filter: Envoy, chunks: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_drain_read_buffer"]
    pub(crate) fn drain_read(filter: Envoy, length: usize) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_inject_read_data"]
    pub(crate) fn inject_read(filter: Envoy, data: Buffer, end_stream: bool);
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_write_buffer_chunks_size"]
    pub(crate) fn write_chunks_size(filter: Envoy) -> usize;
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_write_buffer_chunks"]
    pub(crate) fn write_chunks(filter: Envoy, chunks: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_drain_write_buffer"]
    pub(crate) fn drain_write(filter: Envoy, length: usize) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_get_write_buffer_size"]
    pub(crate) fn write_size(filter: Envoy) -> usize;
    #[link_name = "envoy_dynamic_module_callback_network_filter_prepend_write_buffer"]
    pub(crate) fn prepend_write(filter: Envoy, data: Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_append_write_buffer"]
    pub(crate) fn append_write(filter: Envoy, data: Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_network_filter_inject_write_data"]
    pub(crate) fn inject_write(filter: Envoy, data: Buffer, end_stream: bool);
}
