//! The access log's receiver, printers and destinations.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cilium_observe::{
    Batch, Compact, Destination, Form, Names, Queue, Receiver, Tell, Transport, Writer, json, reason,
};
use cilium_proto::cilium::LogEntry;
use prost::Message;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict};

pyo3::import_exception!(cilium_proxy.observe.receiver, ReceiverError);

/// Names by identity, and of endpoints by IP address.
type NamesArgument = (HashMap<u32, String>, HashMap<String, String>);

/// Entries that wait for Python to take them.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct LogQueue(Arc<Queue>);

/// Writes entries, in a native thread.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct LogDestination(Writer);

/// Receives entries, in a native thread.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct LogReceiver(Receiver);

/// Where a receiver's entries go.
#[derive(FromPyObject)]
enum Outlet<'py> {
    Queue(PyRef<'py, LogQueue>),
    Destination(PyRef<'py, LogDestination>),
}

impl Outlet<'_> {
    fn queue(&self) -> Arc<Queue> {
        match self {
            Self::Queue(queue) => Arc::clone(&queue.0),
            Self::Destination(destination) => Arc::clone(destination.0.queue()),
        }
    }
}

#[pymethods]
impl LogQueue {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self(Arc::new(Queue::new()?)))
    }

    /// Readable when there is something to take.
    fn fileno(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }

    /// Serialised entries.
    fn take<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let mut entries = Batch::default();
        self.0.take(&mut entries);
        entries.iter().map(|entry| PyBytes::new(py, entry)).collect()
    }
}

#[pymethods]
impl LogDestination {
    #[new]
    fn new(py: Python<'_>, kind: &str, form: &str, path: Option<PathBuf>, names: NamesArgument) -> PyResult<Self> {
        let form = match form {
            "compact" => Form::Compact,
            "json" => Form::Json,
            _ => return Err(PyValueError::new_err(format!("there is no format {form:?}"))),
        };
        let destination = match (kind, path.clone()) {
            ("stdout", None) => Destination::Stdout(form),
            ("file", Some(path)) => Destination::File(path, form),
            ("socket", Some(path)) => Destination::Socket(path),
            _ => return Err(PyValueError::new_err(format!("{kind:?} does not go with {path:?}"))),
        };
        let names = Names::new(names.0, names.1);
        py.detach(|| Writer::open(destination, names, tell())).map(Self).map_err(|error| {
            // Python makes a FileNotFoundError, and the like, of the number.
            let path = path.map(|path| path.display().to_string());
            PyOSError::new_err((error.raw_os_error(), reason(&error), path))
        })
    }

    fn set_names(&self, names: NamesArgument) {
        self.0.set_names(Names::new(names.0, names.1));
    }

    fn reopen(&self) {
        self.0.reopen();
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (counts, dropped) = (self.0.counts(), self.0.queue().dropped());
        let counts = [
            ("malformed", &counts.malformed),
            ("written", &counts.written),
            ("dropped", dropped),
            ("failed", &counts.failed),
        ];
        counts.map(|(name, count)| (name, count.get())).into_py_dict(py)
    }

    /// Writes what waits; false when that takes longer than `patience` seconds.
    fn close(&self, py: Python<'_>, patience: f64) -> PyResult<bool> {
        let patience =
            Duration::try_from_secs_f64(patience).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(py.detach(|| self.0.close(patience)))
    }
}

#[pymethods]
impl LogReceiver {
    #[new]
    fn new(socket: PathBuf, stream: bool, outlet: Option<Outlet<'_>>) -> PyResult<Self> {
        let transport = if stream { Transport::Stream } else { Transport::Packets };
        Receiver::start(&socket, transport, outlet.map(|outlet| outlet.queue()), tell())
            .map(Self)
            .map_err(|error| ReceiverError::new_err((error.errno(), error.to_string())))
    }

    /// Entries go there from now on.
    fn redirect(&self, outlet: Option<Outlet<'_>>) {
        self.0.redirect(outlet.map(|outlet| outlet.queue()));
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.0.counts();
        let counts = [
            ("senders", &counts.senders),
            ("received", &counts.received),
            ("malformed", &counts.malformed),
            ("truncated", &counts.truncated),
        ];
        counts.map(|(name, count)| (name, count.get())).into_py_dict(py)
    }

    /// Takes what has arrived and stops listening.
    fn close(&self, py: Python<'_>) {
        // Without the interpreter, which the thread may need to say something.
        py.detach(|| self.0.close());
    }
}

/// Warnings of the package's logger.
fn tell() -> Tell {
    Tell::new(|text| {
        let warn = |py: Python<'_>| -> PyResult<()> {
            let logger = py.import("logging")?.call_method1("getLogger", ("cilium_proxy.observe",))?;
            logger.call_method1("warning", ("%s", text)).map(drop)
        };
        // There is no interpreter any more when the process ends; a logger that fails has nobody to be told of.
        let _ = Python::try_attach(warn);
    })
}

/// Prints serialised entries as Hubble does.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct CompactPrinter {
    printer: Mutex<Compact>,
    names: Names,
}

#[pymethods]
impl CompactPrinter {
    #[new]
    fn new(names: NamesArgument) -> Self {
        Self { printer: Mutex::default(), names: Names::new(names.0, names.1) }
    }

    fn print(&self, entry: &[u8]) -> PyResult<String> {
        let entry = decoded(entry)?;
        let mut out = String::new();
        self.printer.lock().unwrap_or_else(PoisonError::into_inner).print(&entry, &self.names, &mut out);
        Ok(out)
    }
}

/// A serialised entry as JSON, without a line end.
#[pyfunction]
pub(crate) fn log_entry_json(entry: &[u8]) -> PyResult<String> {
    let mut out = String::new();
    json::print(&decoded(entry)?, &mut out);
    Ok(out)
}

fn decoded(entry: &[u8]) -> PyResult<LogEntry> {
    LogEntry::decode(entry).map_err(|error| PyValueError::new_err(format!("not a serialised cilium.LogEntry: {error}")))
}
