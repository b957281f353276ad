//! The parsers of L7 protocols without a proxy, under the policies of a map.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use cilium_l7::{
    FilterResult, Instance, L7, NewConnection, Op, Params, Record, RuleSet, Seed, StepError, compile_rules, kafka,
};
use cilium_policy::{GenericRule, KafkaRule};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::error::{self, guard};
use crate::snapshot::Snapshot;

/// Connections with their parsers, driven step by step.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct L7Connections(Mutex<Instance>);

#[derive(FromPyObject)]
enum Statement {
    Name(Vec<u8>),
    Stream(u16),
}

/// Result, reason, operations, what was injected towards the server and the client, records.
type StepAnswer<'py> =
    (u8, String, Vec<(&'static str, u64)>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Vec<RecordAnswer>);
/// Type, Kafka's part, the part of other protocols.
type RecordAnswer = (&'static str, Option<KafkaAnswer>, Option<(Text, BTreeMap<Text, String>)>);
type Text = Cow<'static, str>;
/// Correlation id, error code, version, API key, topics.
type KafkaAnswer = (i32, i32, i32, i32, Vec<String>);

#[pymethods]
#[allow(clippy::too_many_arguments, reason = "the Python side has them as keywords")]
impl L7Connections {
    #[new]
    fn new(policies: &Snapshot) -> Self {
        Self(Mutex::new(Instance::new(policies.0.clone())))
    }

    /// Puts other policies in force, at once for all connections.
    fn set_policies(&self, policies: &Snapshot) -> PyResult<()> {
        self.instance()?.set_policies(policies.0.clone());
        Ok(())
    }

    /// Starts a connection: result and reason.
    fn connect(
        &self,
        id: u64,
        parser: &str,
        ingress: bool,
        identities: (u32, u32),
        source: &str,
        destination: &str,
        policy: &str,
        inject_limit: usize,
    ) -> PyResult<(u8, String)> {
        let new = NewConnection { id, parser, ingress, identities, source, destination, policy, inject_limit };
        let mut instance = self.instance()?;
        Ok(result(guard(|| instance.new_connection(new))?))
    }

    /// Makes a connection know a statement of Cassandra that was prepared under a name, or is being prepared on a stream.
    fn prepare(&self, id: u64, statement: Statement, path: &str) -> PyResult<(u8, String)> {
        let mut instance = self.instance()?;
        let seed = match &statement {
            Statement::Name(id) => Seed::Prepared { id, path },
            Statement::Stream(stream) => Seed::Preparing { stream: *stream, path },
        };
        Ok(result(guard(|| instance.seed(id, &seed))?))
    }

    /// Has the parser look at bytes, until it has given `max_ops` operations, wants more or has nothing to do.
    fn on_data<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        reply: bool,
        end_stream: bool,
        chunks: Vec<PyBackedBytes>,
        max_ops: usize,
    ) -> PyResult<StepAnswer<'py>> {
        let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| &**chunk).collect();
        let mut instance = self.instance()?;
        let (ops, outcome) = match guard(|| instance.on_data(id, reply, end_stream, &chunks, max_ops))? {
            Ok(step) => (step.ops, step.result),
            Err(error) => (Vec::new(), Err(error)),
        };
        let (code, reason) = result(outcome);
        let [to_server, to_client] = [false, true].map(|reply| PyBytes::new(py, &instance.take_injected(id, reply)));
        let records = instance.take_log().into_iter().map(|(_, record)| record_answer(record)).collect();
        Ok((code, reason, ops.into_iter().filter_map(named).collect(), to_server, to_client, records))
    }

    /// Ends a connection.
    fn close(&self, id: u64) -> PyResult<()> {
        self.instance()?.close(id);
        Ok(())
    }
}

impl L7Connections {
    fn instance(&self) -> PyResult<MutexGuard<'_, Instance>> {
        self.0.lock().map_err(|_| error::poisoned())
    }
}

/// Whether rules of Kafka (API version, API keys, client id, topic) allow a request: API key, version, client id, topics.
#[pyfunction]
pub(crate) fn kafka_rules_allow(
    rules: Vec<(i32, Vec<i32>, String, String)>,
    request: (i16, i16, String, Vec<String>),
) -> bool {
    let rule = |(api_version, api_keys, client_id, topic)| KafkaRule { api_version, api_keys, client_id, topic };
    let rules: Vec<_> = rules.into_iter().map(rule).collect();
    let (api_key, api_version, client_id, topics) = request;
    kafka::matches(&rules, &kafka::Request { api_key, api_version, client_id, topics, ..kafka::Request::default() })
}

/// Checks `proxylib_params`: path of the access log, path of the policies' source, node id. Raises `ValueError`.
#[pyfunction]
pub(crate) fn proxylib_params(params: HashMap<String, String>) -> PyResult<(String, String, String)> {
    let params = Params::new(&params).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok((params.access_log_path, params.xds_path, params.node_id))
}

/// Names of the built-in parsers.
#[pyfunction]
pub(crate) fn l7_parsers() -> Vec<&'static str> {
    cilium_l7::PARSERS.to_vec()
}

/// Why a parser refuses a rule's names and values; `None` if it takes them.
#[pyfunction]
pub(crate) fn l7_rule_problem(parser: &str, fields: BTreeMap<String, String>) -> PyResult<Option<String>> {
    let rule = GenericRule { fields, ..GenericRule::default() };
    guard(|| compile_rules(parser, RuleSet::Generic { allow: &[rule], deny: &[] }).err().map(|error| error.to_string()))
}

fn result(outcome: Result<(), StepError>) -> (u8, String) {
    outcome.map_or_else(|error| (error.result as u8, error.reason), |()| (FilterResult::Ok as u8, String::new()))
}

fn named(op: Op) -> Option<(&'static str, u64)> {
    op.code().map(|(_, count)| (op.name(), count))
}

fn record_answer(record: Record) -> RecordAnswer {
    let kind = record.entry_type.name();
    match record.l7 {
        L7::Kafka(entry) => {
            let (key, version) = (entry.api_key, entry.api_version);
            (kind, Some((entry.correlation_id, entry.error_code, version, key, entry.topics)), None)
        }
        L7::Generic { proto, fields } => (kind, None, Some((proto, fields))),
    }
}
