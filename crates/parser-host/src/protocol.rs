//! The guest's protocols, rules and parsers as those of `cilium_l7`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use cilium_embed_abi as abi;
use cilium_embed_abi::{Answer, Failure, FailureKind, Kind};
use cilium_l7::{ConnectionInfo, Context, CustomRule, Decision, EntryType, ErrorCode, L7, Op, Protocol, Request};

use crate::lock;

/// A protocol that was loaded.
pub(crate) struct GuestProtocol {
    /// As policies name it.
    name: Arc<str>,
    class: abi::Class,
}

#[derive(Debug)]
struct GuestRule(abi::Rule);

/// Where a parser leaves what went wrong in it.
pub(crate) type Failed = Arc<Mutex<Option<Failure>>>;

struct GuestParser {
    parser: abi::Parser,
    failed: Failed,
}

/// What the guest calls while it has data.
struct Back<'b, 'c> {
    context: &'b mut Context<'c>,
    /// The last one, for the entry about it.
    decision: Option<Decision>,
}

impl GuestProtocol {
    pub(crate) fn new(name: &Arc<str>, class: abi::Class) -> Self {
        Self { name: Arc::clone(name), class }
    }

    /// Makes the parser of a connection.
    pub(crate) fn parser(&self, info: &ConnectionInfo, failed: Failed) -> Result<Box<dyn cilium_l7::Parser>, String> {
        let parser = self.class.parser(&converted(info))?;
        Ok(Box::new(GuestParser { parser, failed }))
    }
}

impl fmt::Debug for GuestProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuestProtocol").field(&self.name).finish()
    }
}

impl Protocol for GuestProtocol {
    fn compile(&self, fields: &BTreeMap<String, String>) -> Result<Box<dyn CustomRule>, String> {
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(Box::new(GuestRule(self.class.rule(fields)?)))
    }
}

impl CustomRule for GuestRule {
    fn matches(&self, _message: &dyn Any) -> Option<bool> {
        // The guest knows which message it asked about.
        self.0.matches()
    }
}

impl cilium_l7::Parser for GuestParser {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, end_stream: bool, data: &[u8]) -> Op {
        let mut back = Back { context, decision: None };
        match self.parser.on_data(&mut back, reply, end_stream, data) {
            Answer::More(count) => Op::More(count),
            Answer::Pass(count) => Op::Pass(count),
            Answer::Drop(count) => Op::Drop(count),
            Answer::Inject(count) => Op::Inject(count),
            Answer::Error(reason) => context.fail(ErrorCode::InvalidFrameType, reason),
            Answer::Failed(failure) => {
                let op = context.fail(ErrorCode::Unspecified, sentence(&failure));
                *lock(&self.failed) = Some(failure);
                op
            }
        }
    }
}

fn sentence(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::Interrupted => "a call took longer than it may".to_owned(),
        FailureKind::Memory => format!("no memory is left for parsers ({})", failure.reason),
        FailureKind::Raised | FailureKind::Nonsense => failure.reason.clone(),
    }
}

fn converted(info: &ConnectionInfo) -> abi::Info<'_> {
    abi::Info {
        ingress: info.ingress,
        source_id: info.source_id,
        destination_id: info.destination_id,
        source_address: &info.source_address,
        destination_address: &info.destination_address,
        policy_name: &info.policy_name,
        port: info.port,
    }
}

impl abi::Calls for Back<'_, '_> {
    fn decide(&mut self) -> bool {
        let decision = self.context.decide(&Request::Custom(&()));
        let allowed = decision.allowed;
        self.decision = Some(decision);
        allowed
    }

    fn inject(&mut self, reply: bool, bytes: &[u8]) -> usize {
        self.context.inject(reply, bytes)
    }

    fn log(&mut self, kind: Kind, protocol: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned().into(), (*value).to_owned())).collect();
        let l7 = L7::Generic { proto: protocol.to_owned().into(), fields };
        let kind = match kind {
            Kind::Request => EntryType::Request,
            Kind::Response => EntryType::Response,
            Kind::Denied => EntryType::Denied,
        };
        match self.decision.take() {
            Some(decision) if kind != EntryType::Response => self.context.log_decision(&decision, l7),
            _ => self.context.log(kind, l7),
        }
    }
}
