//! What a protocol implements.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::info::ConnectionInfo;
use crate::inject::InjectBuffer;
use crate::op::{ErrorCode, Op};
use crate::record::{EntryType, L7, Log, Record};
use crate::request::{Decision, Policy, Request};

/// The parser of one connection.
pub trait Parser: Send {
    /// Looks at the bytes of a direction, which start at a message, and says what to do first. It is called again with what is
    /// left after each pass, drop and injection, even when nothing is left.
    ///
    /// INVARIANT: the outcome depends on the bytes of both directions and their order, never on how they were cut.
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, end_stream: bool, data: &[u8]) -> Op;

    /// Makes the parser know what it would have learnt from earlier messages. For conformance cases that start midway.
    fn seed(&mut self, _seed: &Seed<'_>) {}
}

/// What a panic carries.
pub(crate) type Panic = Box<dyn Any + Send>;

/// Calls a parser, whose name is for the access log: there, a panic is a denial.
pub(crate) fn call(
    name: &str,
    parser: &mut dyn Parser,
    context: &mut Context<'_>,
    (reply, end_stream): (bool, bool),
    data: &[u8],
) -> Result<Op, Panic> {
    catch_unwind(AssertUnwindSafe(|| parser.on_data(context, reply, end_stream, data))).inspect_err(|panic| {
        let fields = BTreeMap::from([("status".into(), format!("Panic: {}", panic_message(panic.as_ref())))]);
        context.log(EntryType::Denied, L7::Generic { proto: name.to_owned().into(), fields });
    })
}

/// What a panic says.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}

/// Something learnt from earlier messages.
#[derive(Debug, Clone, Copy)]
pub enum Seed<'a> {
    /// A statement that Cassandra was asked to prepare.
    Preparing {
        /// The request's stream.
        stream: u16,
        /// `/opcode/action/table`, as the reference keeps it.
        path: &'a str,
    },
    /// A prepared statement of Cassandra.
    Prepared {
        /// The server's name of the statement.
        id: &'a [u8],
        /// `/opcode/action/table`, as the reference keeps it.
        path: &'a str,
    },
}

/// What a parser may use during a call.
pub struct Context<'a> {
    pub(crate) info: &'a ConnectionInfo,
    pub(crate) policy: &'a dyn Policy,
    pub(crate) log: &'a mut dyn Log,
    /// Injected bytes: towards the server, towards the client.
    pub(crate) inject: &'a mut [InjectBuffer; 2],
    pub(crate) failure: &'a mut Option<String>,
}

impl Context<'_> {
    /// Who talks to whom.
    #[must_use]
    pub fn info(&self) -> &ConnectionInfo {
        self.info
    }

    /// Asks the policy in force now.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        self.policy.decide(request)
    }

    /// Adds bytes to a direction, at its next message boundary or at [`Op::Inject`]. Returns how many fitted.
    pub fn inject(&mut self, reply: bool, bytes: &[u8]) -> usize {
        self.inject[usize::from(reply)].push(bytes)
    }

    /// Writes an access log record.
    pub fn log(&mut self, entry_type: EntryType, l7: L7) {
        self.log.log(Record { entry_type, l7, rule: None });
    }

    /// Writes the record of a decision.
    pub fn log_decision(&mut self, decision: &Decision, l7: L7) {
        let entry_type = if decision.allowed { EntryType::Request } else { EntryType::Denied };
        self.log.log(Record { entry_type, l7, rule: decision.rule.clone() });
    }

    /// Gives up, saying why.
    pub fn fail(&mut self, code: ErrorCode, reason: impl Into<String>) -> Op {
        self.failure.get_or_insert_with(|| reason.into());
        Op::Error(code)
    }
}
