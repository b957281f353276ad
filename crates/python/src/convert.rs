//! Python values as the engine's and back.

use std::collections::BTreeMap;

use cilium_policy::{HeaderList, Metadata, Value};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Text (encoded as UTF-8, surrogates as the bytes they stand for) or bytes.
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl<'py> FromPyObject<'_, 'py> for Octets {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = value.cast::<PyString>() {
            if let Ok(text) = text.to_str() {
                return Ok(Self(text.as_bytes().to_owned()));
            }
            let bytes = text.call_method1("encode", ("utf-8", "surrogateescape"))?;
            return Ok(Self(bytes.extract()?));
        }
        match value.cast::<PyBytes>() {
            Ok(bytes) => Ok(Self(bytes.as_bytes().to_owned())),
            Err(_) => Err(PyTypeError::new_err(format!("a header is str or bytes, not {}", value.get_type().name()?))),
        }
    }
}

pub(crate) fn headers(pairs: Vec<(Octets, Octets)>) -> PyResult<HeaderList> {
    pairs
        .into_iter()
        .map(|(name, value)| {
            let name = String::from_utf8(name.0).map_err(|_| PyTypeError::new_err("a header name is not UTF-8"))?;
            Ok((name, value.0))
        })
        .collect()
}

/// Bytes as text; what is not UTF-8 becomes surrogates.
pub(crate) fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => PyBytes::new(py, bytes)
            .call_method1("decode", ("utf-8", "surrogateescape"))?
            .cast_into()
            .map_err(Into::into),
    }
}

pub(crate) fn pairs<'py>(py: Python<'py>, pairs: &[(String, Vec<u8>)]) -> PyResult<Bound<'py, PyTuple>> {
    let pairs =
        pairs.iter().map(|(name, value)| Ok((name.as_str(), text(py, value)?))).collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(py, pairs)
}

/// JSON-like values per filter name.
pub(crate) fn metadata(values: &Bound<'_, PyDict>) -> PyResult<Metadata> {
    Ok(Metadata(fields(values, 0)?))
}

/// Deeper metadata than any filter writes.
const MAX_DEPTH: usize = 64;

fn fields(values: &Bound<'_, PyDict>, depth: usize) -> PyResult<BTreeMap<String, Value>> {
    values.iter().map(|(key, value)| Ok((key.extract()?, json(&value, depth + 1)?))).collect()
}

fn json(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > MAX_DEPTH {
        return Err(PyTypeError::new_err(format!("metadata is nested deeper than {MAX_DEPTH} levels")));
    }
    if value.is_none() {
        return Ok(Value::Null);
    }
    // A bool is an int in Python.
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(Value::Bool(value.is_true()));
    }
    if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        return Ok(Value::Number(value.extract()?));
    }
    if let Ok(value) = value.cast::<PyString>() {
        return Ok(Value::String(value.to_str()?.to_owned()));
    }
    if let Ok(value) = value.cast::<PyDict>() {
        return Ok(Value::Struct(fields(value, depth)?));
    }
    if let Ok(values) = value.cast::<PyList>() {
        return Ok(Value::List(values.iter().map(|value| json(&value, depth + 1)).collect::<PyResult<_>>()?));
    }
    Err(PyTypeError::new_err(format!("metadata holds JSON values, not {}", value.get_type().name()?)))
}
