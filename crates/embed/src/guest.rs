//! What the proxy calls.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use cilium_embed_abi as abi;
use cilium_embed_abi::{Answer, Failure, FailureKind, Guest, Info, Settings};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList};

use crate::interrupt;
use crate::operations::Operations;
use crate::{calls, errors, interpreter};

/// Rules kept per class; policies repeat the same ones for each connection.
const KEPT_RULES: usize = 1024;

/// Python, as a guest of the proxy.
#[derive(Debug)]
pub struct Python3;

/// What every call needs.
struct State {
    operations: Operations,
    connection: Py<PyAny>,
    rule_error: Py<PyAny>,
    /// Set by [`Guest::start`].
    loader: Option<Py<PyAny>>,
    load_error: Py<PyAny>,
}

static STATE: PyOnceLock<State> = PyOnceLock::new();

/// Names and values of a rule.
type Fields = Vec<(String, String)>;

/// A class of a protocol.
pub struct Class {
    class: Py<PyAny>,
    rules: Mutex<HashMap<Fields, Py<PyAny>>>,
}

/// A rule of a protocol.
pub struct Rule(Py<PyAny>);

/// The parser of a connection.
pub struct Parser {
    parser: Py<PyAny>,
    /// Operations that are not carried out yet, by direction.
    pending: Mutex<[VecDeque<Answer>; 2]>,
}

/// The protocol of a class of an interpreter that runs already, as where parsers are tested.
pub fn load(class: Bound<'_, PyAny>) -> PyResult<abi::Class> {
    STATE.get_or_try_init(class.py(), || State::new(class.py(), None))?;
    Ok(abi::Class::linked::<Python3>(Class { class: class.unbind(), rules: Mutex::default() }))
}

impl State {
    fn new(py: Python<'_>, loader: Option<Py<PyAny>>) -> PyResult<Self> {
        let parser = py.import("cilium_proxy.l7.parser")?.getattr("Parser")?;
        parser.setattr("_calls", calls::module(py)?)?;
        Ok(Self {
            operations: Operations::import(py)?,
            connection: py.import("cilium_proxy.l7.connection")?.getattr("Connection")?.unbind(),
            rule_error: py.import("cilium_proxy.l7.rule")?.getattr("RuleError")?.unbind(),
            load_error: py.import("cilium_proxy.l7.loading")?.getattr("LoadError")?.unbind(),
            loader,
        })
    }

    fn get(py: Python<'_>) -> PyResult<&'static Self> {
        STATE.get(py).ok_or_else(|| PyRuntimeError::new_err("Python is not prepared"))
    }
}

fn prepare(py: Python<'_>, settings: &Settings<'_>) -> PyResult<()> {
    let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
    // Only for this package; what parsers import beyond the standard library must lie in the configured directories.
    path.insert(0, settings.package)?;
    let loading = py.import("cilium_proxy.l7.loading");
    path.call_method1("remove", (settings.package,))?;
    let loader = loading?.call_method1("Loader", (settings.directories.to_vec(),))?;
    loader.call_method0("install")?;
    interrupt::prepare(py)?;
    let state = State::new(py, Some(loader.unbind()))?;
    let _ = STATE.set(py, state);
    Ok(())
}

/// Runs a call that makes something; `meant` are exceptions whose text is the reason.
fn made<T>(
    meant: impl FnOnce(&State) -> &Py<PyAny>,
    body: impl FnOnce(Python<'_>, &State) -> PyResult<T>,
) -> Result<T, String> {
    Python::attach(|py| {
        let state = State::get(py).map_err(|error| errors::text(py, &error))?;
        body(py, state).map_err(|error| {
            let meant = error.value(py).is_instance(meant(state).bind(py)).unwrap_or(false);
            if meant { errors::text(py, &error) } else { errors::whole(py, &error) }
        })
    })
}

impl Guest for Python3 {
    type Class = Class;
    type Rule = Rule;
    type Parser = Parser;

    fn start(settings: &Settings<'_>) -> Result<(), String> {
        interpreter::start(settings.program, settings.memory)?;
        Python::attach(|py| prepare(py, settings).map_err(|error| errors::whole(py, &error)))
    }

    fn begin(call: u64) {
        interrupt::begin(call);
    }

    fn end() {
        interrupt::end();
    }

    fn interrupt(call: u64) {
        interrupt::interrupt(call);
    }

    fn changed() -> bool {
        Python::attach(|py| {
            let loader = STATE.get(py).and_then(|state| state.loader.as_ref());
            loader.is_some_and(|loader| {
                loader.call_method0(py, "changed").is_ok_and(|changed| changed.is_truthy(py).unwrap_or(false))
            })
        })
    }

    fn refresh() {
        Python::attach(|py| {
            if let Some(loader) = STATE.get(py).and_then(|state| state.loader.as_ref()) {
                // It takes modules out of a dictionary: nothing that fails.
                let _ = loader.call_method0(py, "refresh");
            }
        });
    }

    fn load(name: &str) -> Result<Class, String> {
        made(
            |state| &state.load_error,
            |py, state| {
                let loader = state
                    .loader
                    .as_ref()
                    .ok_or_else(|| PyRuntimeError::new_err("parsers are loaded by Python itself here"))?;
                let class = loader.bind(py).call_method1("load", (name,))?.unbind();
                Ok(Class { class, rules: Mutex::default() })
            },
        )
    }

    fn rule(class: &Class, fields: &[(&str, &str)]) -> Result<Rule, String> {
        let key: Fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        made(
            |state| &state.rule_error,
            |py, _| {
                let kept =
                    class.rules.lock().unwrap_or_else(PoisonError::into_inner).get(&key).map(|rule| rule.clone_ref(py));
                if let Some(rule) = kept {
                    return Ok(Rule(rule));
                }
                let names = PyDict::new(py);
                for (name, value) in fields {
                    names.set_item(name, value)?;
                }
                let rule = class.class.bind(py).getattr("rule")?.call_method1("parse", (names,))?.unbind();
                let mut rules = class.rules.lock().unwrap_or_else(PoisonError::into_inner);
                if rules.len() >= KEPT_RULES {
                    rules.clear();
                }
                rules.insert(key, rule.clone_ref(py));
                Ok(Rule(rule))
            },
        )
    }

    fn parser(class: &Class, info: &Info<'_>) -> Result<Parser, String> {
        made(
            |state| &state.load_error,
            |py, state| {
                let fields = PyDict::new(py);
                fields.set_item("ingress", info.ingress)?;
                fields.set_item("source_identity", info.source_id)?;
                fields.set_item("destination_identity", info.destination_id)?;
                fields.set_item("source_address", info.source_address)?;
                fields.set_item("destination_address", info.destination_address)?;
                fields.set_item("policy_name", info.policy_name)?;
                fields.set_item("port", info.port)?;
                let connection = state.connection.bind(py).call((), Some(&fields))?;
                let parser = class.class.bind(py).call1((connection,))?.unbind();
                Ok(Parser { parser, pending: Mutex::default() })
            },
        )
    }

    fn matches(rule: &Rule) -> Option<bool> {
        Python::attach(|py| {
            let message = calls::message(py)?;
            let matched = rule.0.bind(py).call_method1(intern!(py, "matches"), (message,)).and_then(|matched| {
                let is_bool = matched.is_instance_of::<PyBool>();
                if is_bool { matched.is_truthy() } else { Err(not_a_bool(&matched)) }
            });
            matched.map_err(calls::raised).ok()
        })
    }

    fn on_data(parser: &Parser, reply: bool, end_stream: bool, data: &[u8]) -> Answer {
        let direction = usize::from(reply);
        let mut pending = parser.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = pending[direction].pop_front() {
            return next;
        }
        if data.is_empty() && !end_stream {
            return Answer::More(1);
        }
        Python::attach(|py| {
            let arguments = (reply, end_stream, PyBytes::new(py, data));
            let result = parser.parser.bind(py).call_method1(intern!(py, "on_data"), arguments);
            let result = calls::take_raised().map_or(result, Err);
            let state = State::get(py);
            match result.and_then(|result| Ok(state?.operations.read(&result))) {
                Ok(Ok(mut operations)) => {
                    let first = operations.pop_front();
                    pending[direction] = operations;
                    first.unwrap_or(Answer::More(1))
                }
                Ok(Err(nonsense)) => Answer::Failed(Failure::new(FailureKind::Nonsense, nonsense)),
                Err(error) => Answer::Failed(errors::failure(py, &error)),
            }
        })
    }

    fn free<T>(object: T) {
        // Attached, so that what the parser does at its end is a part of this call.
        Python::attach(|_| drop(object));
    }
}

fn not_a_bool(value: &Bound<'_, PyAny>) -> PyErr {
    let name = value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string());
    pyo3::exceptions::PyTypeError::new_err(format!("matches returned {name}, which is no bool"))
}
