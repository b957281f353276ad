//! Errors as Python exceptions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

pyo3::import_exception!(cilium_proxy.policy.errors, EngineError);
pyo3::import_exception!(cilium_proxy.policy.errors, InvalidQuery);
pyo3::import_exception!(cilium_proxy.policy.errors, PolicyRejected);

/// Runs engine code; a panic, which is a defect, becomes an `EngineError`.
pub(crate) fn guard<T>(run: impl FnOnce() -> T) -> PyResult<T> {
    // A panic leaves nothing half done that is seen again: snapshots are immutable, a map whose update panicked stays
    // locked by poison.
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = cilium_l7::panic_message(panic.as_ref());
        EngineError::new_err(format!("the policy engine failed (please report this): {text}"))
    })
}

/// The error of a map whose update panicked.
pub(crate) fn poisoned() -> PyErr {
    EngineError::new_err("an earlier update failed inside the policy engine: make a new PolicyMap")
}

pub(crate) fn rejected(rejected: &cilium_policy::Rejected) -> PyErr {
    PolicyRejected::new_err((
        rejected.to_string(),
        rejected.resource().map(ToOwned::to_owned),
        rejected.endpoint().map(ToOwned::to_owned),
        rejected.field().map(ToOwned::to_owned),
    ))
}
