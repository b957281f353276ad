//! The policies and their updates.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use cilium_policy::{Update, UpdateKind};
use prost::Message;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::error::{self, PolicyRejected, guard};
use crate::snapshot::Snapshot;

/// Policies by resource name.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct PolicyMap {
    /// Held during updates, without the GIL.
    owner: Mutex<cilium_policy::PolicyMap>,
    current: ArcSwap<cilium_policy::Snapshot>,
    updates: AtomicU64,
    accepted: AtomicU64,
}

/// The field of a NetworkPolicy that names it.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(uint64, tag = "2")]
    endpoint_id: u64,
}

#[pymethods]
impl PolicyMap {
    #[new]
    fn new() -> PyResult<Self> {
        guard(|| {
            let owner = cilium_policy::PolicyMap::new();
            let current = ArcSwap::new(owner.snapshot());
            Self { owner: Mutex::new(owner), current, updates: AtomicU64::new(0), accepted: AtomicU64::new(0) }
        })
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot(self.current.load_full())
    }

    /// All or nothing. A resource without a name is named after its endpoint id.
    fn update(
        &self,
        py: Python<'_>,
        upserts: Vec<(Option<String>, PyBackedBytes)>,
        removed: Vec<String>,
        version: &str,
        delta: bool,
        new_stream: bool,
    ) -> PyResult<()> {
        self.updates.fetch_add(1, Ordering::Relaxed);
        py.detach(|| {
            let names = upserts
                .iter()
                .enumerate()
                .map(|(position, (name, bytes))| name_of(position, name.as_deref(), bytes))
                .collect::<PyResult<Vec<_>>>()?;
            let upserts: Vec<(&str, &[u8])> =
                names.iter().zip(&upserts).map(|(name, (_, bytes))| (name.as_str(), &**bytes)).collect();
            let removed: Vec<&str> = removed.iter().map(String::as_str).collect();
            let kind = if delta { UpdateKind::Delta } else { UpdateKind::Full };
            let update = Update { version, kind, new_stream, upserts: &upserts, removed: &removed };
            guard(|| {
                let mut owner = self.owner.lock().map_err(|_| error::poisoned())?;
                let snapshot = owner.update(&update).map_err(|rejected| error::rejected(&rejected))?;
                self.current.store(snapshot);
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })?
        })
    }

    /// Updates so far: all, accepted.
    fn counts(&self) -> (u64, u64) {
        // Read in this order, accepted never exceeds all.
        let accepted = self.accepted.load(Ordering::Acquire);
        (self.updates.load(Ordering::Relaxed), accepted)
    }

    fn set_secret(&self, py: Python<'_>, name: &str, value: Option<PyBackedBytes>) -> PyResult<()> {
        py.detach(|| {
            guard(|| {
                self.owner.lock().map_err(|_| error::poisoned())?.set_secret(name, value.as_deref());
                Ok(())
            })?
        })
    }

    fn secret_names(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        py.detach(|| guard(|| Ok(self.owner.lock().map_err(|_| error::poisoned())?.secret_names()))?)
    }
}

fn name_of(position: usize, name: Option<&str>, bytes: &[u8]) -> PyResult<String> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    match Named::decode(bytes) {
        Ok(named) => Ok(named.endpoint_id.to_string()),
        Err(error) => {
            let resource = format!("#{position}");
            let text = format!("resource {resource} is not a serialised cilium.NetworkPolicy: {error}");
            Err(PolicyRejected::new_err((text, resource)))
        }
    }
}
