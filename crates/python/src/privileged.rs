//! The privileged service, run in threads of the interpreter's process, outside the GIL.

use std::os::fd::{AsRawFd, OwnedFd};

use cilium_privileged::capability::BEHIND_AN_AGENT;
use cilium_privileged::{BpfRoot, Capabilities, Service};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// Keeps the privileges that Envoy gives up; ends when it is dropped.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct PrivilegedService {
    service: Service,
    child: OwnedFd,
}

#[pymethods]
impl PrivilegedService {
    #[new]
    fn new(roots: Vec<String>) -> PyResult<Self> {
        let roots = roots.iter().map(BpfRoot::new).collect::<Result<_, _>>();
        let roots = roots.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let (service, child) = Service::spawn(roots).map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Self { service, child })
    }

    /// The descriptor for Envoy, open as long as this object lives. Further connections are made over it.
    fn fileno(&self) -> i32 {
        self.child.as_raw_fd()
    }

    /// What would not work for want of a capability, each with the setting that grants it.
    fn missing(&self) -> PyResult<Vec<String>> {
        let error = |error: &dyn std::fmt::Display| PyOSError::new_err(error.to_string());
        let client = self.service.client().map_err(|problem| error(&problem))?;
        let bits = client.capabilities().map_err(|problem| error(&problem))?;
        Ok(Capabilities::from_bits(bits).missing(&BEHIND_AN_AGENT).iter().map(ToString::to_string).collect())
    }
}
