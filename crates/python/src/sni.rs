//! Server-name patterns.

use pyo3::prelude::*;

use crate::error::PolicyRejected;

/// A pattern as in `server_names` of a rule.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct SniPattern(cilium_policy::SniPattern);

#[pymethods]
impl SniPattern {
    #[new]
    fn new(pattern: &str) -> PyResult<Self> {
        cilium_policy::SniPattern::new(pattern).map(Self).map_err(|error| PolicyRejected::new_err(error.to_string()))
    }

    fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}
