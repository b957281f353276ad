//! Identities of addresses.

use std::net::IpAddr;
use std::sync::Mutex;

use arc_swap::ArcSwap;
use cilium_policy::UpdateKind;
use cilium_policy::hosts::{self, HostUpdate};
use prost::Message;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::error::{self, InvalidQuery, PolicyRejected, guard};

/// Identities by address prefix.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct HostMap {
    /// One update at a time.
    updates: Mutex<()>,
    current: ArcSwap<hosts::HostMap>,
}

/// The field of a `NetworkPolicyHosts` that names it.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(uint64, tag = "1")]
    policy: u64,
}

#[pymethods]
impl HostMap {
    #[new]
    fn new() -> Self {
        Self { updates: Mutex::new(()), current: ArcSwap::default() }
    }

    /// All or nothing. Resources are named after their identity.
    fn update(
        &self,
        py: Python<'_>,
        upserts: Vec<PyBackedBytes>,
        removed: Vec<String>,
        version: &str,
        delta: bool,
        new_stream: bool,
    ) -> PyResult<()> {
        py.detach(|| {
            let names = upserts.iter().enumerate().map(name_of).collect::<PyResult<Vec<_>>>()?;
            let upserts: Vec<(&str, &[u8])> =
                names.iter().zip(&upserts).map(|(name, bytes)| (name.as_str(), &**bytes)).collect();
            let removed: Vec<&str> = removed.iter().map(String::as_str).collect();
            let kind = if delta { UpdateKind::Delta } else { UpdateKind::Full };
            let update = HostUpdate { version, kind, new_stream, upserts: &upserts, removed: &removed };
            guard(|| {
                let _one_at_a_time = self.updates.lock().map_err(|_| error::poisoned())?;
                let next = self.current.load().update(&update).map_err(|rejected| error::rejected(&rejected))?;
                self.current.store(next.into());
                Ok(())
            })?
        })
    }

    fn resolve(&self, address: &str) -> PyResult<Option<u32>> {
        let address: IpAddr =
            address.parse().map_err(|_| InvalidQuery::new_err(format!("{address:?} is not an IP address")))?;
        guard(|| self.current.load().resolve(address))
    }
}

fn name_of((position, bytes): (usize, &PyBackedBytes)) -> PyResult<String> {
    Named::decode(&**bytes).map(|named| named.policy.to_string()).map_err(|error| {
        let resource = format!("#{position}");
        let text = format!("resource {resource} is not a serialised cilium.NetworkPolicyHosts: {error}");
        PolicyRejected::new_err((text, resource))
    })
}
