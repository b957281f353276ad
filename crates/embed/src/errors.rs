//! Exceptions as text.

use cilium_embed_abi::{Failure, FailureKind};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

use crate::interrupt::{self, TimeLimitError};

/// What an exception means for the connection.
pub(crate) fn failure(py: Python<'_>, error: &PyErr) -> Failure {
    let kind = if error.is_instance_of::<TimeLimitError>(py) {
        // Once is enough: another would end the printing of this one.
        interrupt::end();
        FailureKind::Interrupted
    } else if error.is_instance_of::<PyMemoryError>(py) {
        FailureKind::Memory
    } else {
        FailureKind::Raised
    };
    Failure { kind, reason: one_line(py, error), traceback: traceback(py, error) }
}

/// The exception in one line, and its traceback on the lines after it.
pub(crate) fn whole(py: Python<'_>, error: &PyErr) -> String {
    format!("{}\n{}", one_line(py, error), traceback(py, error))
}

/// The exception's text alone, for those that are meant to be read.
pub(crate) fn text(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).str().map_or_else(|_| "an exception without text".to_owned(), |text| text.to_string())
}

fn one_line(py: Python<'_>, error: &PyErr) -> String {
    let name = error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
    let text = text(py, error);
    if text.is_empty() { name } else { format!("{name}: {}", text.replace('\n', " ")) }
}

fn traceback(py: Python<'_>, error: &PyErr) -> String {
    let lines = py.import("traceback").and_then(|traceback| traceback.call_method1("format_exception", (error,)));
    let lines = lines.and_then(|lines| lines.extract::<Vec<String>>());
    lines.map(|lines| lines.concat().trim_end().to_owned()).unwrap_or_default()
}
