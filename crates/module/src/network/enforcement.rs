//! The policies that a connection's messages must be allowed by, as they are in force at each message.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use cilium_abi::log::{Level, log};
use cilium_channel::State;
use cilium_l7::{Decision, Policy, Request};
use cilium_policy::{Direction, EndpointPolicy, Metadata, PortPolicy, Value};

use crate::enforced;
use crate::network::messages::Rules;

/// All policies that the messages of a connection are judged by.
pub(super) struct Enforcement {
    pub(super) parser: String,
    pub(super) proxy_id: u16,
    pub(super) allow_egress: bool,
    pub(super) server_name: String,
    /// All must allow.
    pub(super) questions: Vec<Question>,
}

/// A policy to ask.
pub(super) struct Question {
    /// Empty: nobody's.
    name: String,
    direction: Direction,
    port: u16,
    remote: u32,
    compiled: RefCell<Option<Compiled>>,
}

/// What a policy says, as long as it is in force.
struct Compiled {
    of: Weak<EndpointPolicy>,
    /// The error: nothing is allowed.
    rules: Result<Answer, String>,
}

enum Answer {
    /// There are no rules.
    Everything,
    By(Rules),
}

impl Question {
    pub(super) fn new(name: &str, direction: Direction, port: u16, remote: u32) -> Self {
        Self { name: name.to_owned(), direction, port, remote, compiled: RefCell::new(None) }
    }
}

impl Policy for Enforcement {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let state = enforced::load();
        let mut last = Decision::DENIED;
        for question in &self.questions {
            last = self.ask(question, &state, request);
            if !last.allowed {
                break;
            }
        }
        last
    }
}

impl Enforcement {
    fn ask(&self, question: &Question, state: &State, request: &Request<'_>) -> Decision {
        let policy = state.policies.policy(&question.name, self.allow_egress);
        let port = policy.port(question.direction, question.port);
        let mut compiled = question.compiled.borrow_mut();
        // The weak reference keeps the place from being used again.
        let compiled = match &mut *compiled {
            Some(compiled) if std::ptr::eq(compiled.of.as_ptr(), Arc::as_ptr(policy)) => compiled,
            old => {
                let rules = self.compile(question, port);
                if let Err(reason) = &rules {
                    let (name, port) = (&question.name, question.port);
                    log(Level::Warn, &format!("cilium.network: {name:?} port {port} denies all messages: {reason}"));
                }
                old.insert(Compiled { of: Arc::downgrade(policy), rules })
            }
        };
        match (&compiled.rules, request) {
            (Err(_), _) => Decision::DENIED,
            (Ok(Answer::Everything), _) => Decision::ALLOWED,
            (Ok(Answer::By(_)), Request::Metadata { namespace, value }) => {
                let metadata = Metadata(BTreeMap::from([((*namespace).to_owned(), converted(value))]));
                let verdict = port.metadata(self.proxy_id, question.remote, &metadata);
                Decision { allowed: verdict.allowed, rule: verdict.reason.rule().map(Into::into) }
            }
            (Ok(Answer::By(rules)), request) => rules.decide(request),
        }
    }

    fn compile(&self, question: &Question, port: PortPolicy<'_>) -> Result<Answer, String> {
        let verdict = port.network(self.proxy_id, question.remote, &self.server_name);
        if !verdict.allowed {
            return Err(verdict.reason.describe(&question.name).to_string());
        }
        match port.l7_rules(self.proxy_id, question.remote) {
            Some(candidates) if !port.allows_everything() => Rules::new(&self.parser, candidates).map(Answer::By),
            // Allowed without an entry: there is no policy, and egress is allowed then.
            _ => Ok(Answer::Everything),
        }
    }
}

fn converted(value: &cilium_l7::Value) -> Value {
    match value {
        cilium_l7::Value::String(text) => Value::String(text.clone()),
        cilium_l7::Value::List(values) => Value::List(values.iter().map(converted).collect()),
        cilium_l7::Value::Struct(fields) => {
            Value::Struct(fields.iter().map(|(name, value)| (name.clone(), converted(value))).collect())
        }
    }
}
