//! Questions to the policies of one moment.

use std::sync::Arc;

use cilium_policy::{Direction, HeaderLog, PortPolicy, Question, TlsSide, TlsVerdict, Verdict};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use serde::Serialize;

use crate::convert::{self, Octets};
use crate::error::{EngineError, guard};
use crate::tls::TlsContext;

/// An immutable state of the map.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct Snapshot(pub(crate) Arc<cilium_policy::Snapshot>);

/// allowed, reason, code, rule, position.
type Answer = (bool, String, &'static str, Option<String>, Option<String>);
type HttpAnswer<'py> = (
    bool,
    String,
    &'static str,
    Option<String>,
    Option<String>,
    Bound<'py, PyTuple>,
    Bound<'py, PyTuple>,
    Bound<'py, PyTuple>,
);
type TlsAnswer = (bool, String, &'static str, Option<String>, Option<String>, Option<TlsContext>, bool);

#[pymethods]
#[allow(clippy::too_many_arguments, reason = "the Python side has them as keywords")]
impl Snapshot {
    #[getter]
    fn version(&self) -> &str {
        self.0.version()
    }

    fn exists(&self, endpoint: &str) -> bool {
        self.0.endpoint(endpoint).is_some()
    }

    /// Address, endpoint id and resource name of every endpoint with a policy.
    fn endpoints(&self) -> Vec<(String, u64, String)> {
        self.0
            .endpoints()
            .map(|(address, policy)| (address.to_owned(), policy.endpoint_id(), policy.resource().to_owned()))
            .collect()
    }

    fn network(
        &self,
        endpoint: &str,
        ingress: bool,
        proxy_id: u16,
        remote: u32,
        port: u16,
        sni: &str,
        allow_egress: bool,
    ) -> PyResult<Answer> {
        guard(|| answer(endpoint, &self.port(endpoint, ingress, port, allow_egress).network(proxy_id, remote, sni)))
    }

    fn http<'py>(
        &self,
        py: Python<'py>,
        endpoint: &str,
        ingress: bool,
        proxy_id: u16,
        remote: u32,
        port: u16,
        headers: Vec<(Octets, Octets)>,
        sni: &str,
        network_check: bool,
        allow_egress: bool,
    ) -> PyResult<HttpAnswer<'py>> {
        let mut headers = convert::headers(headers)?;
        let mut log = HeaderLog::default();
        let (allowed, reason, code, rule, position) = guard(|| {
            let policy = self.port(endpoint, ingress, port, allow_egress);
            if network_check {
                let connection = policy.network(proxy_id, remote, sni);
                // Without HTTP rules the connection's rule has decided.
                if !connection.allowed || !policy.has_http_rules() {
                    return answer(endpoint, &connection);
                }
            }
            answer(endpoint, &policy.http(proxy_id, remote, &mut headers, &mut log))
        })?;
        Ok((
            allowed,
            reason,
            code,
            rule,
            position,
            convert::pairs(py, &headers.0)?,
            convert::pairs(py, &log.missing)?,
            convert::pairs(py, &log.rejected)?,
        ))
    }

    fn tls(
        &self,
        endpoint: &str,
        ingress: bool,
        server: bool,
        proxy_id: u16,
        remote: u32,
        port: u16,
        sni: &str,
        allow_egress: bool,
    ) -> PyResult<TlsAnswer> {
        let side = if server { TlsSide::Server } else { TlsSide::Client };
        guard(|| {
            let policy = self.port(endpoint, ingress, port, allow_egress);
            let (allowed, reason, code, rule, position) = answer(endpoint, &policy.network(proxy_id, remote, sni));
            match policy.tls(side, proxy_id, remote, sni) {
                TlsVerdict::Context(context) => {
                    (allowed, reason, code, rule, position, Some(TlsContext(Arc::clone(context))), false)
                }
                TlsVerdict::Raw => (allowed, reason, code, rule, position, None, true),
                TlsVerdict::Refused(_) => (false, reason, code, rule, position, None, false),
            }
        })
    }

    fn l7_parser(
        &self,
        endpoint: &str,
        ingress: bool,
        proxy_id: u16,
        remote: u32,
        port: u16,
    ) -> PyResult<Option<String>> {
        guard(|| self.port(endpoint, ingress, port, false).l7_parser(proxy_id, remote).map(ToOwned::to_owned))
    }

    fn metadata(
        &self,
        endpoint: &str,
        ingress: bool,
        proxy_id: u16,
        remote: u32,
        port: u16,
        metadata: &Bound<'_, PyDict>,
        allow_egress: bool,
    ) -> PyResult<Answer> {
        let metadata = convert::metadata(metadata)?;
        guard(|| {
            answer(endpoint, &self.port(endpoint, ingress, port, allow_egress).metadata(proxy_id, remote, &metadata))
        })
    }

    /// The rules of an endpoint as they are evaluated, as JSON; `None` without a policy.
    fn dump(&self, endpoint: &str) -> PyResult<Option<String>> {
        guard(|| self.0.endpoint(endpoint).map(|policy| json(&policy.dump())).transpose())?
    }

    /// The whole way to a verdict, as JSON and as text.
    fn explain(
        &self,
        endpoint: &str,
        ingress: bool,
        proxy_id: u16,
        remote: u32,
        port: u16,
        sni: &str,
        headers: Option<Vec<(Octets, Octets)>>,
        metadata: Option<&Bound<'_, PyDict>>,
        allow_egress: bool,
    ) -> PyResult<(String, String)> {
        let headers = headers.map(convert::headers).transpose()?;
        let metadata = metadata.map(convert::metadata).transpose()?;
        let direction = direction(ingress);
        let (headers, metadata) = (headers.as_ref(), metadata.as_ref());
        let question = Question { endpoint, direction, port, proxy_id, remote, sni, headers, metadata };
        guard(|| {
            let trace = self.0.policy(endpoint, allow_egress).explain(&question);
            Ok((json(&trace)?, trace.to_string()))
        })?
    }
}

impl Snapshot {
    fn port(&self, endpoint: &str, ingress: bool, port: u16, allow_egress: bool) -> PortPolicy<'_> {
        self.0.policy(endpoint, allow_egress).port(direction(ingress), port)
    }
}

fn direction(ingress: bool) -> Direction {
    if ingress { Direction::Ingress } else { Direction::Egress }
}

fn answer(endpoint: &str, verdict: &Verdict<'_>) -> Answer {
    let reason = &verdict.reason;
    let rule = reason.rule().map(ToOwned::to_owned);
    (verdict.allowed, reason.describe(endpoint).to_string(), reason.code(), rule, reason.position())
}

fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| EngineError::new_err(error.to_string()))
}
