//! The network filter `cilium.network`: the verdict on a connection, before anything is connected upstream or, where load
//! balancing chooses the host, before any byte passes. Where rules name a parser, it judges the messages after that.

pub(crate) mod connected;
mod enforcement;
mod options;
mod parser;

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::log::{Level, log as write_line};
use cilium_abi::network::{Connection, NetworkFilter, NetworkFilterConfig, NetworkFilterFactory, Status};
use cilium_accesslog::{Connection as Ends, EntryType, Queue};
use cilium_l7::{ConnectionInfo, Params};
use cilium_parser_host::Closed;
use cilium_proto::cilium::NetworkFilter as Message;
use prost::Message as _;

use crate::balanced::Balanced;
use crate::enforced;
use crate::identities::Source;
use crate::known::Place;
use crate::log::{self, PooledEntry};
use crate::metadata::{Context, UpstreamSocket};
use crate::network::connected::Waiting;
use crate::network::enforcement::{Enforcement, Question};
use crate::network::parser::{ClosedCounters, Parser};
use crate::target::Target;
use crate::tls_choice::REFUSED_KEY;
use crate::websocket;

const UPSTREAM_SERVER_NAME: &str = "envoy.network.upstream_server_name";
const UPSTREAM_ALT_NAMES: &str = "envoy.network.upstream_subject_alt_names";

pub(crate) struct Factory {
    log: Option<Arc<Queue>>,
    /// Of the parsers, which may have one of their own.
    parser_log: Option<Arc<Queue>>,
    closed: ClosedCounters,
}

impl Factory {
    pub(crate) fn new(config: &[u8], envoy: &NetworkFilterConfig) -> Result<Self, ConfigError> {
        let message = Message::decode(config)?;
        let params = Params::new(&message.proxylib_params)?;
        let [own, parsers] = [&message.access_log_path, &params.access_log_path];
        Ok(Self {
            log: log::open(if own.is_empty() { parsers } else { own })?,
            parser_log: log::open(if parsers.is_empty() { own } else { parsers })?,
            closed: ClosedCounters::new(envoy)?,
        })
    }
}

impl NetworkFilterFactory for Factory {
    fn filter(&self) -> Rc<dyn NetworkFilter> {
        Rc::new(Filter {
            log: self.log.clone(),
            parser_log: self.parser_log.clone(),
            closed: self.closed,
            phase: RefCell::new(Phase::Judged),
            parser: RefCell::new(None),
            place: OnceCell::new(),
        })
    }
}

/// How far a connection is.
enum Phase {
    /// Nothing left to judge.
    Judged,
    /// Load balancing has not chosen its host yet.
    Waiting { _place: Waiting },
    /// Closed.
    Refused,
}

struct Filter {
    log: Option<Arc<Queue>>,
    parser_log: Option<Arc<Queue>>,
    closed: ClosedCounters,
    phase: RefCell<Phase>,
    /// Judges what passes once the connection may be.
    parser: RefCell<Option<Parser>>,
    /// Where HTTP filters keep what they find out of the connection.
    place: OnceCell<Place>,
}

impl NetworkFilter for Filter {
    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Status {
        match self.begin(connection) {
            Ok(()) => Status::Continue,
            Err(reason) => self.refuse(connection, &reason),
        }
    }

    fn on_read(&self, connection: &mut Connection<'_>, end_stream: bool) -> Status {
        match self.settle(connection) {
            Status::Continue => self.parse(connection, false, end_stream),
            Status::StopIteration => Status::StopIteration,
        }
    }

    fn on_write(&self, connection: &mut Connection<'_>, end_stream: bool) -> Status {
        match self.settle(connection) {
            Status::Continue => self.parse(connection, true, end_stream),
            Status::StopIteration => Status::StopIteration,
        }
    }

    fn on_scheduled(&self, connection: &mut Connection<'_>, event: u64) {
        match event {
            connected::CONNECTED => _ = self.settle(connection),
            parser::JUDGED => self.proceed(connection),
            _ => {}
        }
    }

    fn on_closed(&self) {
        // Other threads wake it no more.
        if self.parser.borrow_mut().take().is_some() {
            *self.phase.borrow_mut() = Phase::Refused;
        }
    }
}

impl Filter {
    /// Judges the connection, or has it wait for its host.
    fn begin(&self, connection: &mut Connection<'_>) -> Result<(), String> {
        if let Some(socket) = connection.filter_state(UpstreamSocket::KEY) {
            let socket = UpstreamSocket::decode(socket).ok_or("the upstream socket's options are broken")?;
            options::set(connection, &socket);
        }
        let context = unwrapped(context(connection)?, connection);
        if let Some(reason) = connection.filter_state(REFUSED_KEY) {
            let reason = String::from_utf8_lossy(reason).into_owned();
            let destination = connection.local_address().ok_or("the destination is no IP address")?;
            let target = Target::new(&context, destination, &enforced::load());
            let identity = target.destination_identity;
            let entry = entry(connection, &context, context.pod, identity, destination);
            self.write_log(entry, &reason, EntryType::Denied);
            return Err(reason);
        }
        self.place.get_or_init(|| Place::new(connection.id()));
        if context.l7lb {
            let place = Waiting::new(connection);
            *self.phase.borrow_mut() = Phase::Waiting { _place: place };
            return Ok(());
        }
        self.judge(connection, &context)?;
        pass_server_name(connection);
        Ok(())
    }

    fn judge(&self, connection: &Connection<'_>, context: &Context<'_>) -> Result<(), String> {
        let unwrapped = websocket::destination(connection);
        let destination = unwrapped.or_else(|| connection.local_address()).ok_or("the destination is no IP address")?;
        let state = enforced::load();
        let sni = connection.server_name().unwrap_or_default();
        let target = Target::new(context, destination, &state);
        let policy = context.policy(&state, context.pod);
        let port = policy.port(target.direction, target.port);
        let verdict = port.network(context.proxy_id, target.remote, sni);
        let parser = port.l7_parser(context.proxy_id, target.remote).filter(|_| verdict.allowed);
        let reason = match parser {
            Some(parser) => {
                let question =
                    Question::new(policy_key(context, context.pod), target.direction, target.port, target.remote);
                let ends = (context.pod, target.destination_identity, destination);
                match self.start(connection, context, ends, parser, vec![question]) {
                    Ok(()) => return Ok(()),
                    Err(reason) => format!("port {}: {reason}", target.port),
                }
            }
            None if verdict.allowed => return Ok(()),
            None => verdict.reason.describe(context.pod).to_string(),
        };
        let mut entry = entry(connection, context, context.pod, target.destination_identity, destination);
        if let Some(parser) = parser {
            entry.update_from_metadata(parser, std::iter::empty());
        }
        self.write_log(entry, &reason, EntryType::Denied);
        Err(reason)
    }

    /// Judges a connection that waited for its host, if it is chosen. HTTP hosts are chosen per request and not seen here.
    fn settle(&self, connection: &mut Connection<'_>) -> Status {
        match &*self.phase.borrow() {
            Phase::Judged => return Status::Continue,
            Phase::Refused => return Status::StopIteration,
            Phase::Waiting { .. } if !connection.has_upstream_host() => return Status::Continue,
            Phase::Waiting { .. } => {}
        }
        match self.judge_host(connection) {
            Ok(()) => {
                *self.phase.borrow_mut() = Phase::Judged;
                Status::Continue
            }
            Err(reason) => self.refuse(connection, &reason),
        }
    }

    fn judge_host(&self, connection: &Connection<'_>) -> Result<(), String> {
        let context = context(connection)?;
        let host = connection.upstream_host().ok_or("the chosen host has no IP address")?;
        let state = enforced::load();
        let balanced = Balanced::new(&context, &state, host);
        let mut judged = balanced.connection(connection.server_name().unwrap_or_default());
        if judged.outcome.is_ok()
            && let Err(reason) = self.start_balanced(connection, &context, &balanced, judged.policy_name)
        {
            judged.outcome = Err(reason);
        }
        let (kind, rule) = match &judged.outcome {
            Err(reason) => (EntryType::Denied, reason.as_str()),
            // What the load balancer's policy allows does not pass the datapath's log again.
            Ok(rule) if judged.policy_name != context.pod => (EntryType::Request, rule.as_deref().unwrap_or_default()),
            Ok(_) => return Ok(()),
        };
        self.write_log(entry(connection, &context, judged.policy_name, balanced.identity, host), rule, kind);
        judged.outcome.map(drop)
    }

    /// Runs the parser that the rules name, if any; all policies whose rules name it judge its messages.
    fn start_balanced(
        &self,
        connection: &Connection<'_>,
        context: &Context<'_>,
        balanced: &Balanced<'_>,
        policy_name: &str,
    ) -> Result<(), String> {
        let mut wanted = None;
        let mut questions = Vec::new();
        for question in balanced.questions() {
            let Some(parser) = question.port.l7_parser(context.proxy_id, question.remote) else { continue };
            let first = *wanted.get_or_insert(parser);
            if first != parser {
                return Err(format!("one policy wants the parser {first:?}, another {parser:?}"));
            }
            let name = policy_key(context, question.name);
            questions.push(Question::new(name, question.direction, question.port_number, question.remote));
        }
        let Some(parser) = wanted else { return Ok(()) };
        self.start(connection, context, (policy_name, balanced.identity, balanced.host), parser, questions)
    }

    /// Has a parser judge the connection's messages. `ends`: the policy's name, the destination's identity and address.
    fn start(
        &self,
        connection: &Connection<'_>,
        context: &Context<'_>,
        ends: (&str, u32, SocketAddr),
        parser: &str,
        questions: Vec<Question>,
    ) -> Result<(), String> {
        let (policy_name, destination_id, destination) = ends;
        let info = ConnectionInfo {
            ingress: context.ingress,
            source_id: context.source_identity,
            destination_id,
            source_address: connection.remote_address().map(|address| address.to_string()).unwrap_or_default(),
            destination_address: destination.to_string(),
            policy_name: policy_name.to_owned(),
            port: context.port,
        };
        let enforcement = Enforcement {
            parser: parser.to_owned(),
            protocol: None,
            proxy_id: context.proxy_id,
            allow_egress: context.allow_egress,
            server_name: connection.server_name().unwrap_or_default().to_owned(),
            questions,
        };
        let parser = Parser::new(connection, info, enforcement, self.parser_log.clone())?;
        *self.parser.borrow_mut() = Some(parser);
        Ok(())
    }

    /// Has the parser, if there is one, judge what is in the buffer.
    fn parse(&self, connection: &mut Connection<'_>, reply: bool, end_stream: bool) -> Status {
        let judged = match &mut *self.parser.borrow_mut() {
            None => return Status::Continue,
            Some(parser) => parser.judge(connection, reply, end_stream),
        };
        match judged {
            Ok(outcome) => outcome.apply(connection, reply, end_stream),
            Err(closed) => self.close(connection, &closed),
        }
    }

    /// Sends on what a parser has judged since it was asked.
    fn proceed(&self, connection: &mut Connection<'_>) {
        loop {
            // Not borrowed while it is sent: Envoy may call the filter again.
            let next = match &mut *self.parser.borrow_mut() {
                None => return,
                Some(parser) => parser.next(),
            };
            match next {
                Ok(Ok(effect)) => parser::inject(connection, &effect),
                Ok(Err(rest)) => {
                    if rest.resume {
                        connection.stop_reading(false);
                    }
                    if rest.quiet {
                        connection.hold_close(false);
                    }
                    return;
                }
                Err(closed) => {
                    self.close(connection, &closed);
                    return;
                }
            }
        }
    }

    /// Closes the connection for its parser.
    fn close(&self, connection: &mut Connection<'_>, closed: &Closed) -> Status {
        if !matches!(self.phase.replace(Phase::Refused), Phase::Refused) {
            self.closed.count(connection, closed.cause);
            let id = connection.id();
            write_line(Level::Warn, &format!("cilium.network: connection {id} is closed: {closed}"));
            connection.close(&log::details("cilium.network", &closed.reason));
            connection.hold_close(false);
        }
        Status::StopIteration
    }

    fn refuse(&self, connection: &mut Connection<'_>, reason: &str) -> Status {
        *self.phase.borrow_mut() = Phase::Refused;
        connection.reset(&log::details("cilium.network", reason));
        Status::StopIteration
    }

    fn write_log(&self, mut entry: PooledEntry, rule: &str, kind: EntryType) {
        if let Some(queue) = &self.log {
            entry.set_rule(rule);
            queue.log(&mut entry, kind);
        }
    }
}

/// The name that a policy is found by; nobody's where nobody is known.
fn policy_key<'n>(context: &Context<'_>, name: &'n str) -> &'n str {
    if context.identities == Source::NOBODY { "" } else { name }
}

/// The connection's access log entry.
fn entry(
    connection: &Connection<'_>,
    context: &Context<'_>,
    policy_name: &str,
    destination_identity: u32,
    destination: SocketAddr,
) -> PooledEntry {
    let source = connection.remote_address().map(|address| address.to_string()).unwrap_or_default();
    let mut entry = PooledEntry::new();
    entry.init_from_connection(
        &Ends {
            policy_name,
            proxy_id: context.proxy_id,
            ingress: context.ingress,
            source_identity: context.source_identity,
            source_address: &source,
            destination_identity,
            destination_address: &destination.to_string(),
        },
        log::now(),
    );
    entry
}

/// Out of a websocket, a connection goes where its other end wanted it to.
fn unwrapped<'c>(context: Context<'c>, connection: &Connection<'_>) -> Context<'c> {
    match websocket::destination(connection) {
        Some(destination) if !context.ingress => {
            Context { port: destination.port(), destination: Some(destination.ip()), ..context }
        }
        _ => context,
    }
}

fn context<'c>(connection: &'c Connection<'_>) -> Result<Context<'c>, &'static str> {
    connection.filter_state(Context::KEY).and_then(Context::decode).ok_or("the connection has no policy metadata")
}

/// The client's server name goes to the upstream, which must present a certificate for it, unless the cluster says
/// otherwise.
fn pass_server_name(connection: &mut Connection<'_>) {
    let Some(name) = connection.server_name().map(str::to_owned) else { return };
    if connection.has_typed_filter_state(UPSTREAM_SERVER_NAME) || connection.has_typed_filter_state(UPSTREAM_ALT_NAMES)
    {
        return;
    }
    connection.set_typed_filter_state(UPSTREAM_SERVER_NAME, &name);
    connection.set_typed_filter_state(UPSTREAM_ALT_NAMES, &name);
}
