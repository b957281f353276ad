//! Entries of the access log, made as the filters make them.

use cilium_accesslog::{Connection, Entry, EntryType, HttpProtocol};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::Octets;

type Header = (Octets, Octets);

/// What is known of one request.
#[pyclass(module = "cilium_proxy._core")]
pub(crate) struct LogEntry(Entry);

#[pymethods]
impl LogEntry {
    /// `source` and `destination`: identity and "ip:port". Times are nanoseconds since the Unix epoch.
    #[new]
    #[pyo3(signature = (policy_name, *, proxy_id, ingress, source, destination, protocol, timestamp, headers))]
    #[expect(clippy::too_many_arguments, reason = "an entry has them")]
    fn new(
        policy_name: &str,
        proxy_id: u16,
        ingress: bool,
        source: (u32, String),
        destination: (u32, String),
        protocol: &str,
        timestamp: u64,
        headers: Vec<Header>,
    ) -> PyResult<Self> {
        let connection = Connection {
            policy_name,
            proxy_id,
            ingress,
            source_identity: source.0,
            source_address: &source.1,
            destination_identity: destination.0,
            destination_address: &destination.1,
        };
        let protocol = HttpProtocol::from_str_name(protocol)
            .ok_or_else(|| PyValueError::new_err(format!("{protocol:?} is no HttpProtocol")))?;
        let mut entry = Entry::new();
        entry.init_from_request(&connection, timestamp, protocol, borrowed(&headers));
        Ok(Self(entry))
    }

    /// Makes it the entry of the response.
    fn respond(&mut self, timestamp: u64, headers: Vec<Header>) {
        self.0.update_from_response(timestamp, borrowed(&headers));
    }

    /// A serialised `cilium.LogEntry`.
    fn encode<'py>(&mut self, py: Python<'py>, entry_type: &str) -> PyResult<Bound<'py, PyBytes>> {
        let kind = EntryType::from_str_name(entry_type)
            .ok_or_else(|| PyValueError::new_err(format!("{entry_type:?} is no EntryType")))?;
        let mut encoded = Vec::new();
        self.0.encode(kind, &mut encoded);
        Ok(PyBytes::new(py, &encoded))
    }
}

fn borrowed(headers: &[Header]) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (&*name.0, &*value.0))
}
