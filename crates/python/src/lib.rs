//! Python bindings of the policy engine, of the L7 parsers and of the access log: conversions and nothing else. The API of
//! the engine is the package `cilium_proxy.policy`.

#![forbid(unsafe_code)]
#![allow(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over")]

mod access_log;
mod convert;
mod error;
mod hosts;
mod l7;
mod log_entry;
mod map;
mod parser;
mod snapshot;
mod sni;
mod tls;

/// The private extension module; its Python signatures are in `_core.pyi`.
#[pyo3::pymodule]
mod _core {
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    #[pymodule_export]
    use crate::access_log::{CompactPrinter, LogDestination, LogQueue, LogReceiver, log_entry_json};
    #[pymodule_export]
    use crate::hosts::HostMap;
    #[pymodule_export]
    use crate::l7::{L7Connections, kafka_rules_allow, l7_parsers, l7_rule_problem, proxylib_params};
    #[pymodule_export]
    use crate::log_entry::LogEntry;
    #[pymodule_export]
    use crate::map::PolicyMap;
    #[pymodule_export]
    use crate::parser::ParserConnection;
    #[pymodule_export]
    use crate::snapshot::Snapshot;
    #[pymodule_export]
    use crate::sni::SniPattern;
    #[pymodule_export]
    use crate::tls::TlsContext;

    /// Serialised `FileDescriptorSet` of the protobuf files of this project, without the Envoy files they import.
    #[pyfunction]
    fn descriptors(py: Python<'_>) -> Bound<'_, PyBytes> {
        PyBytes::new(py, cilium_proto::DESCRIPTORS)
    }
}
