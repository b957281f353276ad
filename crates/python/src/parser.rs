//! Parsers written in Python, run as Envoy runs them, without Envoy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use cilium_l7::{ConnectionInfo, L7, Log, Policy, Record, Request, RuleSet, compile_custom};
use cilium_parser_host::{Direct, TryPolicy};
use cilium_policy::GenericRule;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{self, guard};

/// One connection with its parser.
#[pyclass(frozen, module = "cilium_proxy._core")]
pub(crate) struct ParserConnection {
    name: String,
    direct: Mutex<Direct>,
    records: Records,
}

/// Allowing and denying rules.
type Rules = (Vec<BTreeMap<String, String>>, Vec<BTreeMap<String, String>>);
/// Direction, bytes, end.
type Sent<'py> = (bool, Bound<'py, PyBytes>, bool);
/// Type, protocol and fields.
type Entry = (&'static str, String, BTreeMap<String, String>);
/// Reason and traceback.
type Closed = (String, String);

#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Record>>>);

impl Log for Records {
    fn log(&mut self, record: Record) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

#[pymethods]
impl ParserConnection {
    /// Makes the parser. Raises `ValueError`.
    #[new]
    #[allow(clippy::too_many_arguments, reason = "the Python side has them as keywords")]
    fn new(
        parser: Bound<'_, PyAny>,
        name: String,
        rules: Rules,
        ingress: bool,
        identities: (u32, u32),
        source: &str,
        destination: &str,
        policy_name: &str,
    ) -> PyResult<Self> {
        let class = cilium_embed::load(parser)?;
        let info = ConnectionInfo::new(ingress, identities, source, destination, policy_name);
        let info = info.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let records = Records::default();
        let log = Box::new(records.clone());
        let direct = guard(|| Direct::new(&name, class, info, policy(&name, &rules), log))?;
        Ok(Self { direct: Mutex::new(direct.map_err(PyValueError::new_err)?), name, records })
    }

    /// Puts other rules in force. Raises `ValueError`.
    fn set_rules(&self, rules: Rules) -> PyResult<()> {
        let direct = self.direct()?;
        guard(|| direct.set_policy(policy(&self.name, &rules)))?.map_err(PyValueError::new_err)
    }

    /// Has the parser look at bytes.
    fn feed<'py>(
        &self,
        py: Python<'py>,
        reply: bool,
        end: bool,
        data: Vec<u8>,
    ) -> PyResult<(Vec<Sent<'py>>, Vec<Entry>, Option<Closed>)> {
        let mut direct = self.direct()?;
        let (sent, closed) = match guard(|| direct.feed(reply, end, data))? {
            Ok(effects) => (effects, None),
            Err((closed, failure)) => {
                let traceback = failure.map(|failure| failure.traceback).unwrap_or_default();
                (Vec::new(), Some((closed.reason, traceback)))
            }
        };
        let sent = sent.into_iter().map(|effect| (effect.reply, PyBytes::new(py, &effect.bytes), effect.end));
        let records = std::mem::take(&mut *self.records.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((sent.collect(), records.into_iter().filter_map(entry).collect(), closed))
    }
}

impl ParserConnection {
    /// Not waited for: whoever has it, may wait for Python.
    fn direct(&self) -> PyResult<MutexGuard<'_, Direct>> {
        self.direct.try_lock().map_err(|error| match error {
            TryLockError::Poisoned(_) => error::poisoned(),
            TryLockError::WouldBlock => PyRuntimeError::new_err("the parser is at work"),
        })
    }
}

/// A policy of these rules alone; without any it allows every message.
fn policy<'p>(name: &'p str, (allow, deny): &'p Rules) -> Box<TryPolicy<'p>> {
    let generic = |rules: &[BTreeMap<String, String>]| -> Vec<_> {
        rules.iter().map(|fields| GenericRule { fields: fields.clone(), ..GenericRule::default() }).collect()
    };
    Box::new(move |protocol| {
        let (allow, deny) = (generic(allow), generic(deny));
        let rules = compile_custom(name, protocol, RuleSet::Generic { allow: &allow, deny: &deny });
        let rules = rules.map_err(|error| error.to_string())?;
        let decide: Box<dyn Policy + Send> = Box::new(move |request: &Request<'_>| rules.decide(request));
        Ok(decide)
    })
}

fn entry(record: Record) -> Option<Entry> {
    match record.l7 {
        L7::Generic { proto, fields } => {
            let fields = fields.into_iter().map(|(name, value)| (name.into_owned(), value)).collect();
            Some((record.entry_type.name(), proto.into_owned(), fields))
        }
        L7::Kafka(_) => None,
    }
}
