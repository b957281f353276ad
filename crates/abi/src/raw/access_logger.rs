//! Callbacks of access loggers.

use super::Envoy;

unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_access_logger_get_connection_id"]
    pub(crate) fn connection_id(logger: Envoy) -> u64;
}
