//! TLS contexts.

use std::sync::Arc;

use pyo3::prelude::*;

/// A `cilium.TLSContext` of a rule. Equal if it is the same object in the engine.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct TlsContext(pub(crate) Arc<cilium_policy::TlsContext>);

#[pymethods]
impl TlsContext {
    #[getter]
    fn trusted_ca(&self) -> &str {
        &self.0.trusted_ca
    }

    #[getter]
    fn certificate_chain(&self) -> &str {
        &self.0.certificate_chain
    }

    #[getter]
    fn server_names(&self) -> Vec<String> {
        self.0.server_names.clone()
    }

    #[getter]
    fn alpn_protocols(&self) -> Vec<String> {
        self.0.alpn_protocols.clone()
    }

    #[getter]
    fn validation_context_sds_secret(&self) -> &str {
        &self.0.validation_context_sds_secret
    }

    #[getter]
    fn tls_sds_secret(&self) -> &str {
        &self.0.tls_sds_secret
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| Arc::ptr_eq(&self.0, &other.get().0))
    }

    fn __hash__(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn __repr__(&self) -> String {
        let context = &*self.0;
        format!(
            "<TlsContext server_names={:?} tls_sds_secret={:?} validation_context_sds_secret={:?}>",
            context.server_names, context.tls_sds_secret, context.validation_context_sds_secret
        )
    }
}
