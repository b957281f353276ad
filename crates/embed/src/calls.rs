//! What parsers call: the implementation of `Calls` in `cilium_proxy/l7/parser.py`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use cilium_embed_abi as abi;
use cilium_embed_abi::Kind;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

thread_local! {
    /// The message that the policy is asked about.
    static MESSAGE: RefCell<Option<Py<PyAny>>> = const { RefCell::new(None) };
    /// Why a rule could not be asked. It ends the parser's call, also where the parser catches it.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// The message that the policy is asked about now.
pub(crate) fn message(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    MESSAGE.with_borrow(|message| message.as_ref().map(|message| message.bind(py).clone()))
}

/// Notes why a rule could not be asked.
pub(crate) fn raised(error: PyErr) {
    RAISED.with_borrow_mut(|raised| {
        raised.get_or_insert(error);
    });
}

/// Why a rule could not be asked since this was called last.
pub(crate) fn take_raised() -> Option<PyErr> {
    RAISED.take()
}

fn outside() -> PyErr {
    PyRuntimeError::new_err("the proxy can be called within on_data only, and not by a rule")
}

#[pyfunction]
fn decide(py: Python<'_>, message: Py<PyAny>) -> PyResult<bool> {
    if MESSAGE.with_borrow(Option::is_some) {
        return Err(outside());
    }
    MESSAGE.set(Some(message));
    let decided = abi::decide();
    MESSAGE.take();
    match RAISED.with_borrow(|raised| raised.as_ref().map(|error| error.clone_ref(py))) {
        Some(error) => Err(error),
        None => decided.ok_or_else(outside),
    }
}

#[pyfunction]
fn inject(reply: bool, data: &[u8]) -> PyResult<usize> {
    abi::inject(reply, data).ok_or_else(outside)
}

#[pyfunction]
fn log(kind: &str, protocol: &str, fields: BTreeMap<String, String>) -> PyResult<()> {
    let kind = match kind {
        "Request" => Kind::Request,
        "Response" => Kind::Response,
        "Denied" => Kind::Denied,
        _ => return Err(PyValueError::new_err(format!("{kind:?} is not Request, Response or Denied"))),
    };
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    abi::log(kind, protocol, &fields).ok_or_else(outside)
}

/// The functions, as attributes of a module.
pub(crate) fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let module = PyModule::new(py, "cilium_proxy.l7._calls")?;
    module.add_function(wrap_pyfunction!(decide, &module)?)?;
    module.add_function(wrap_pyfunction!(inject, &module)?)?;
    module.add_function(wrap_pyfunction!(log, &module)?)?;
    Ok(module)
}
