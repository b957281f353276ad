//! Python bindings of the policy engine: conversions and nothing else. The package `cilium_proxy.policy` is the API.

#![forbid(unsafe_code)]

/// The private extension module; its Python signatures are in `_core.pyi`.
#[pyo3::pymodule]
mod _core {
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    /// Serialised `FileDescriptorSet` of the protobuf files of this project, without the Envoy files they import.
    #[pyfunction]
    fn descriptors(py: Python<'_>) -> Bound<'_, PyBytes> {
        PyBytes::new(py, cilium_proto::DESCRIPTORS)
    }
}
