//! The policies that a connection's messages must be allowed by, as they are in force at each message.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use cilium_abi::log::{Level, log};
use cilium_channel::State;
use cilium_l7::{Asker, Decision, Policy, PortRules, Protocol, Request};
use cilium_policy::{Direction, EndpointPolicy};

use crate::enforced;

/// All policies that the messages of a connection are judged by.
pub(super) struct Enforcement {
    pub(super) parser: String,
    /// Of a parser from outside of `crates/l7`.
    pub(super) protocol: Option<Arc<dyn Protocol>>,
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
    rules: PortRules,
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
                let rules = PortRules::new(port, &question.name, self.asker(question));
                if let Some(reason) = rules.problem() {
                    let (name, port) = (&question.name, question.port);
                    log(Level::Warn, &format!("cilium.network: {name:?} port {port} denies all messages: {reason}"));
                }
                old.insert(Compiled { of: Arc::downgrade(policy), rules })
            }
        };
        compiled.rules.decide(port, request)
    }

    fn asker(&self, question: &Question) -> Asker<'_> {
        let Self { parser, proxy_id, server_name, .. } = self;
        let protocol = self.protocol.as_deref();
        Asker { parser, proxy_id: *proxy_id, remote: question.remote, server_name, protocol }
    }
}
