//! From what `on_data` returns to what the proxy does.

use std::collections::VecDeque;

use cilium_embed_abi::Answer;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple, PyType};

/// The classes of operations.
pub(crate) struct Operations {
    more: Py<PyType>,
    pass: Py<PyType>,
    drop: Py<PyType>,
    inject: Py<PyType>,
    error: Py<PyType>,
}

impl Operations {
    pub(crate) fn import(py: Python<'_>) -> PyResult<Self> {
        let module = py.import("cilium_proxy.l7.operations")?;
        let class = |name: &str| Ok::<_, PyErr>(module.getattr(name)?.cast_into::<PyType>()?.unbind());
        Ok(Self {
            more: class("More")?,
            pass: class("Pass")?,
            drop: class("Drop")?,
            inject: class("Inject")?,
            error: class("Error")?,
        })
    }

    /// The operations of a result, in order and at least one, or what is wrong with it.
    pub(crate) fn read(&self, result: &Bound<'_, PyAny>) -> Result<VecDeque<Answer>, String> {
        let mut read = VecDeque::with_capacity(1);
        if let Ok(list) = result.cast::<PyList>() {
            for item in list {
                read.push_back(self.one(&item)?);
            }
        } else if let Ok(tuple) = result.cast::<PyTuple>() {
            for item in tuple {
                read.push_back(self.one(&item)?);
            }
        } else {
            read.push_back(self.one(result)?);
        }
        let last = read.len().checked_sub(1).ok_or("on_data returned no operation")?;
        let ends = |answer: &Answer| matches!(answer, Answer::More(_) | Answer::Error(_));
        if read.iter().take(last).any(ends) {
            return Err("on_data returned operations after More or Error".to_owned());
        }
        Ok(read)
    }

    fn one(&self, operation: &Bound<'_, PyAny>) -> Result<Answer, String> {
        let py = operation.py();
        let class = operation.get_type();
        let is = |known: &Py<PyType>| class.is(known.bind(py));
        let count = || count(operation);
        if is(&self.pass) {
            Ok(Answer::Pass(count()?))
        } else if is(&self.more) {
            Ok(Answer::More(count()?))
        } else if is(&self.drop) {
            Ok(Answer::Drop(count()?))
        } else if is(&self.inject) {
            Ok(Answer::Inject(count()?))
        } else if is(&self.error) {
            let reason = operation.getattr(intern!(py, "reason")).map_err(|error| error.to_string())?;
            let reason = reason.cast::<PyString>().map_err(|_| format!("on_data returned {}", shown(operation)))?;
            Ok(Answer::Error(reason.to_string()))
        } else {
            Err(format!("on_data returned {}, which is no operation", shown(operation)))
        }
    }
}

fn count(operation: &Bound<'_, PyAny>) -> Result<usize, String> {
    let count = operation.getattr(intern!(operation.py(), "count")).and_then(|count| count.extract::<usize>());
    match count {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("on_data returned {}; counts are whole numbers of at least 1", shown(operation))),
    }
}

/// As Python shows it, not longer than a line.
fn shown(object: &Bound<'_, PyAny>) -> String {
    let text = object.repr().map_or_else(|_| "an object".to_owned(), |text| text.to_string());
    text.chars().take(200).collect()
}
