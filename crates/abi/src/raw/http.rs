//! Callbacks of HTTP filters.

use super::{Buffer, Envoy, Header};

unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_http_get_header"]
    pub(crate) fn header(
        filter: Envoy,
        kind: u32,
        name: Buffer,
        value: *mut Buffer,
        index: usize,
        values: *mut usize,
    ) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_send_go_away_and_close"]
    pub(crate) fn send_go_away_and_close(filter: Envoy, graceful: bool);
    #[link_name = "envoy_dynamic_module_callback_http_filter_continue_encoding"]
    pub(crate) fn continue_encoding(filter: Envoy);
    #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_new"]
    pub(crate) fn scheduler_new(filter: Envoy) -> Envoy;
    #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_commit"]
    pub(crate) fn scheduler_commit(scheduler: Envoy, event: u64);
    #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_delete"]
    pub(crate) fn scheduler_delete(scheduler: Envoy);
    #[link_name = "envoy_dynamic_module_callback_http_get_headers_size"]
    pub(crate) fn headers_size(filter: Envoy, kind: u32) -> usize;
    #[link_name = "envoy_dynamic_module_callback_http_get_headers"]
    pub(crate) fn headers(filter: Envoy, kind: u32, result: *mut Header) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_add_header"]
    pub(crate) fn add_header(filter: Envoy, kind: u32, name: Buffer, value: Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_set_header"]
    pub(crate) fn set_header(filter: Envoy, kind: u32, name: Buffer, value: Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_send_response"]
    pub(crate) fn send_response(
        filter: Envoy,
        status: u32,
        headers: *const Header,
        headers_size: usize,
        body: Buffer,
        details: Buffer,
    );
    #[link_name = "envoy_dynamic_module_callback_http_get_filter_state_bytes"]
    pub(crate) fn filter_state(filter: Envoy, key: Buffer, value: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_get_attribute_string"]
    pub(crate) fn attribute_string(filter: Envoy, attribute: u32, result: *mut Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_get_attribute_int"]
    pub(crate) fn attribute_int(filter: Envoy, attribute: u32, result: *mut u64) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_set_filter_state_bytes"]
    pub(crate) fn set_filter_state(filter: Envoy, key: Buffer, value: Buffer) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_define_counter"]
    pub(crate) fn define_counter(
        config: Envoy,
        name: Buffer,
        labels: *const Buffer,
        labels_size: usize,
        id: *mut usize,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_increment_counter"]
    pub(crate) fn increment_counter(
        filter: Envoy,
        id: usize,
        labels: *const Buffer,
        labels_size: usize,
        amount: u64,
    ) -> u32;
}
