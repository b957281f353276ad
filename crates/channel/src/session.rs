//! One connection's side of the protocol, without the socket.

use std::time::Instant;

use cilium_proto::cilium_proxy::v1::frame::Kind;
use cilium_proto::cilium_proxy::v1::module_hello::Applied as HelloApplied;
use cilium_proto::cilium_proxy::v1::result::{Accepted, BaseMismatch, Outcome as Wire, Rejected};
use cilium_proto::cilium_proxy::v1::{ModuleHello, Result as ResultFrame, ServerHello, begin};

use crate::enforced::Enforced;
use crate::frame::Limits;
use crate::observer::{Observer, Outcome, Update};
use crate::resource::ResourceType;
use crate::transaction::Assembly;

/// Version of the protocol.
const PROTOCOL: u32 = 1;

/// Why the connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("the control plane speaks protocol {0}, this module {PROTOCOL}: use both of the same release")]
    Version(u32),
    #[error("the control plane sent {0} before its hello")]
    NoHello(&'static str),
    #[error("the control plane sent {0} where protocol {PROTOCOL} does not allow it")]
    Unexpected(&'static str),
    #[error("the control plane commits transaction {commit} while {begin} is open")]
    WrongCommit { commit: u64, begin: u64 },
}

/// What the module says first.
pub(crate) fn hello(instance: &str, enforced: &Enforced) -> Kind {
    let applied = enforced.applied().map(|(resource_type, applied)| HelloApplied {
        type_url: resource_type.url().to_owned(),
        epoch: applied.epoch,
        version: applied.version.clone(),
        digest: applied.digest.to_vec(),
    });
    Kind::ModuleHello(ModuleHello { protocol: PROTOCOL, instance: instance.to_owned(), applied: applied.collect() })
}

/// Frames in, results out.
#[derive(Debug)]
pub(crate) struct Session {
    limits: Limits,
    server: Option<ServerHello>,
    open: Option<Assembly>,
}

impl Session {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, server: None, open: None }
    }

    pub(crate) fn greeted(&self) -> bool {
        self.server.is_some()
    }

    /// Types the control plane wants applied before Envoy opens listeners.
    pub(crate) fn required_types(&self) -> Option<&[String]> {
        self.server.as_ref().map(|server| server.required_types.as_slice())
    }

    /// Takes a frame; the answer to it, if there is one, is to be sent.
    pub(crate) fn receive(
        &mut self,
        frame: Kind,
        enforced: &mut Enforced,
        observer: &mut dyn Observer,
    ) -> Result<Option<Kind>, ProtocolError> {
        let kind = name(&frame);
        let Some(server) = &self.server else {
            let Kind::ServerHello(server) = frame else { return Err(ProtocolError::NoHello(kind)) };
            if server.protocol != PROTOCOL {
                return Err(ProtocolError::Version(server.protocol));
            }
            self.server = Some(server);
            observer.connected();
            return Ok(None);
        };
        match (frame, &mut self.open) {
            (Kind::Begin(begin), open @ None) => *open = Some(Assembly::new(begin, self.limits)),
            (Kind::Upsert(upsert), Some(open)) => open.upsert(upsert),
            (Kind::Remove(remove), Some(open)) => open.remove(remove),
            (Kind::Commit(commit), open @ Some(_)) => {
                let Some(assembly) = open.take() else { return Err(ProtocolError::Unexpected(kind)) };
                let epoch = server.epoch;
                let begin = assembly.begin().clone();
                if commit.txn != begin.txn {
                    return Err(ProtocolError::WrongCommit { commit: commit.txn, begin: begin.txn });
                }
                let started = Instant::now();
                let (upserts, removed) = assembly.sizes();
                let resource_type = ResourceType::from_url(&begin.type_url);
                let outcome = match (resource_type, assembly.commit(&commit)) {
                    (None, _) => Outcome::Rejected(format!("type \"{}\" is not known here", begin.type_url)),
                    (_, Err(error)) => Outcome::Rejected(error.to_string()),
                    (Some(resource_type), Ok(transaction)) => enforced.apply(resource_type, epoch, &transaction),
                };
                observer.updated(&Update {
                    resource_type,
                    type_url: &begin.type_url,
                    full: begin.kind == i32::from(begin::Kind::Full),
                    new_stream: begin.new_stream,
                    version: &begin.target_version,
                    upserts,
                    removed,
                    outcome: &outcome,
                    state: &enforced.shared().load(),
                    elapsed: started.elapsed(),
                });
                return Ok(Some(Kind::Result(ResultFrame { txn: begin.txn, outcome: Some(wire(outcome)) })));
            }
            _ => return Err(ProtocolError::Unexpected(kind)),
        }
        Ok(None)
    }
}

fn wire(outcome: Outcome) -> Wire {
    match outcome {
        Outcome::Accepted => Wire::Accepted(Accepted {}),
        Outcome::Rejected(detail) => Wire::Rejected(Rejected { detail }),
        Outcome::BaseMismatch(version) => Wire::BaseMismatch(BaseMismatch { version }),
    }
}

fn name(frame: &Kind) -> &'static str {
    match frame {
        Kind::ServerHello(_) => "a server hello",
        Kind::ModuleHello(_) => "a module hello",
        Kind::Begin(_) => "a begin",
        Kind::Upsert(_) => "an upsert",
        Kind::Remove(_) => "a remove",
        Kind::Commit(_) => "a commit",
        Kind::Result(_) => "a result",
    }
}
