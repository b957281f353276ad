//! The parser of one Kafka connection.

mod metadata;

use kafka_protocol::messages::{ApiKey, RequestHeader};

use crate::info::ConnectionInfo;
use crate::kafka::Request;
use crate::kafka::decode::decode_start;
use crate::kafka::parser::metadata::metadata;
use crate::kafka::reply::{UNKNOWN_SESSION, UNKNOWN_TOPIC_ID, denial, error_code};
use crate::kafka::sessions::{Scope, Sessions, TopicIds};
use crate::kafka::topics::{Named, named};
use crate::kafka::versions;
use crate::op::{ErrorCode, Op};
use crate::parser::{Context, Parser};
use crate::pipeline::Pipeline;
use crate::record::{EntryType, KafkaEntry, L7};
use crate::request;

/// Length and correlation id of a reply, or length, API and version of a request.
const PEEK: usize = 8;
/// Shortest request: length, API, version, correlation id, no client id.
const SHORTEST: usize = 10;
/// Longest request other than Produce, whose items take up more memory decoded than encoded.
const MAX_REQUEST: usize = 1 << 20;
/// Longest request or reply.
const MAX_FRAME: usize = 100 << 20;
/// `INVALID_MESSAGE`, in the access log.
const MALFORMED: i32 = 2;
/// `UNSUPPORTED_VERSION`, in the access log.
const UNSUPPORTED: i32 = 35;
/// Bytes of a Fetch reply up to its session id.
const FETCH_HEAD: usize = 19;

/// The parser of one connection.
pub(crate) struct Kafka {
    scope: Scope,
    ids: TopicIds,
    sessions: Sessions,
    pipeline: Pipeline<Sent>,
    failed: bool,
    /// Length of the request at hand, which was replaced by another.
    dropping: Option<usize>,
    /// Length of the reply at hand, which was replaced by another.
    dropping_reply: Option<usize>,
}

/// A request that the server answers.
#[derive(Debug, Clone)]
struct Sent {
    request: Request,
    correlation_id: i32,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Plain,
    /// The reply is to offer no more than can be read here.
    Versions,
    /// The reply names topic ids.
    Metadata,
    /// The reply is to have no other topics than the policy allows, and these, with an authorization error.
    PartOfMetadata(Vec<String>),
    /// The reply may start a session with the request's topics.
    NewSession,
}

/// The parts of a request.
struct Frame<'a> {
    api_key: i16,
    version: i16,
    correlation_id: i32,
    client_id: String,
    body: &'a [u8],
    length: usize,
}

fn frame_length(data: &[u8]) -> Option<usize> {
    let length = data.first_chunk().map(|length| i32::from_be_bytes(*length))?;
    usize::try_from(length).ok().map(|length| length + 4)
}

impl Kafka {
    pub(crate) fn new(info: &ConnectionInfo, ids: TopicIds) -> Self {
        Self {
            scope: Scope::of(info),
            ids,
            sessions: Sessions::default(),
            pipeline: Pipeline::default(),
            failed: false,
            dropping: None,
            dropping_reply: None,
        }
    }

    fn malformed(&mut self, context: &mut Context<'_>, correlation_id: i32, why: &str) -> Op {
        let entry = KafkaEntry { correlation_id, error_code: MALFORMED, ..KafkaEntry::default() };
        self.refuse(context, entry, why)
    }

    /// As a broker does. A client that asks for versions first does not come here.
    fn unsupported(&mut self, context: &mut Context<'_>, correlation_id: i32, api_key: i16, version: i16) -> Op {
        let (api_key, api_version) = (api_key.into(), version.into());
        let entry =
            KafkaEntry { correlation_id, error_code: UNSUPPORTED, api_version, api_key, ..KafkaEntry::default() };
        self.refuse(context, entry, &format!("version {version} of API {api_key}, which is not known"))
    }

    fn refuse(&mut self, context: &mut Context<'_>, entry: KafkaEntry, why: &str) -> Op {
        self.failed = true;
        context.log(EntryType::Denied, L7::Kafka(entry));
        context.fail(ErrorCode::InvalidFrameType, why)
    }

    fn request(&mut self, context: &mut Context<'_>, data: &[u8]) -> Op {
        if let Some(length) = self.dropping.take() {
            return Op::Drop(length);
        }
        let Some(length) = frame_length(data).filter(|length| (SHORTEST..=MAX_FRAME).contains(length)) else {
            return self.malformed(context, 0, "a length that no request has");
        };
        let api_key = i16::from_be_bytes([data[4], data[5]]);
        if length > MAX_REQUEST && api_key != ApiKey::Produce as i16 {
            return self.malformed(context, 0, "a request other than Produce of over 1048576 bytes");
        }
        let Some(frame) = data.get(..length) else { return Op::More(length - data.len()) };
        let correlation_id = frame.get(8..12).map_or(0, |id| i32::from_be_bytes([id[0], id[1], id[2], id[3]]));
        let version = i16::from_be_bytes([frame[6], frame[7]]);
        let Some(known) = versions::known(api_key, version) else {
            return match versions::unsupported(api_key, correlation_id) {
                Some(reply) => self.answer(context, &reply, length),
                None => self.unsupported(context, correlation_id, api_key, version),
            };
        };
        let header_version = known.request_header_version(version);
        let Some((header, body)) = decode_start::<RequestHeader>(&frame[4..], header_version) else {
            return self.malformed(context, correlation_id, "a malformed header");
        };
        let client_id = header.client_id.map(|id| id.to_string()).unwrap_or_default();
        let frame = Frame { api_key, version, correlation_id, client_id, body, length };
        if known == ApiKey::ApiVersions {
            return self.negotiate(context, frame);
        }
        match named(known, body, version) {
            Some(named) => self.decide(context, known, &frame, named),
            None => self.malformed(context, correlation_id, "a malformed request"),
        }
    }

    /// Asking for the versions of APIs always works: a client that may do anything has to do this before.
    fn negotiate(&mut self, context: &mut Context<'_>, frame: Frame<'_>) -> Op {
        let request = Request {
            api_key: frame.api_key,
            api_version: frame.version,
            client_id: frame.client_id,
            ..Request::default()
        };
        context.log(EntryType::Request, L7::Kafka(entry(&request, frame.correlation_id, 0)));
        self.send(context, Sent { request, correlation_id: frame.correlation_id, kind: Kind::Versions }, frame.length)
    }

    /// Answers a request in place of the server.
    fn answer(&mut self, context: &mut Context<'_>, reply: &[u8], length: usize) -> Op {
        match self.pipeline.deny(context, reply) {
            Ok(()) => Op::Drop(length),
            Err(error) => context.fail(ErrorCode::InvalidFrameType, error.to_string()),
        }
    }

    fn send(&mut self, context: &mut Context<'_>, sent: Sent, length: usize) -> Op {
        match self.pipeline.expect(sent) {
            Ok(()) => Op::Pass(length),
            Err(error) => context.fail(ErrorCode::InvalidFrameType, error.to_string()),
        }
    }

    /// Names of topic ids; true if one is not known.
    fn resolve(&self, ids: &[uuid::Uuid], names: &mut Vec<String>) -> bool {
        let mut unknown = false;
        for id in ids {
            let name = self.ids.name(&self.scope, *id);
            unknown |= name.is_none();
            names.push(name.unwrap_or_else(|| id.to_string()));
        }
        unknown
    }

    #[expect(clippy::similar_names, reason = "one decision, step by step")]
    fn decide(&mut self, context: &mut Context<'_>, api_key: ApiKey, frame: &Frame<'_>, named: Named) -> Op {
        let mut names = named.names;
        let unknown_id = self.resolve(&named.ids, &mut names);
        let mut code = if unknown_id { UNKNOWN_TOPIC_ID } else { error_code(api_key, named.idempotence) };
        let mut any_topic = named.any || unknown_id;
        let mut session = None;
        if let Some(fetch) = named.fetch.filter(|fetch| fetch.epoch > 0) {
            code = UNKNOWN_SESSION;
            match self.sessions.get(fetch.id) {
                None => any_topic = true,
                Some(topics) => {
                    let mut forgotten = fetch.forgotten;
                    self.resolve(&fetch.forgotten_ids, &mut forgotten);
                    let kept = topics.iter().filter(|topic| !forgotten.contains(topic));
                    names.extend(kept.cloned());
                    session = Some(fetch.id);
                }
            }
        }
        let mut topics: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        topics.extend(names.into_iter().filter(|name| seen.insert(name.clone())));
        let request = Request {
            api_key: frame.api_key,
            api_version: frame.version,
            client_id: frame.client_id.clone(),
            topics,
            any_topic,
            idempotence: named.idempotence,
        };
        let decision = context.decide(&request::Request::Kafka(&request));
        if !decision.allowed
            && api_key == ApiKey::Metadata
            && !unknown_id
            && let Some(op) = self.part_of_metadata(context, frame, &request)
        {
            return op;
        }
        let error = if decision.allowed { 0 } else { code };
        context.log_decision(&decision, L7::Kafka(entry(&request, frame.correlation_id, error)));
        if decision.allowed {
            if named.no_reply {
                return Op::Pass(frame.length);
            }
            let kind = match api_key {
                ApiKey::Metadata if frame.version >= 10 => Kind::Metadata,
                ApiKey::Fetch if frame.version >= 7 && session.is_none() && !any_topic => Kind::NewSession,
                _ => Kind::Plain,
            };
            if let Some(id) = session {
                self.sessions.set(id, request.topics.clone());
            }
            return self.send(context, Sent { request, correlation_id: frame.correlation_id, kind }, frame.length);
        }
        if let Some(id) = session {
            self.sessions.forget(id);
        }
        if named.no_reply {
            return Op::Drop(frame.length);
        }
        match denial(api_key, frame.version, frame.correlation_id, frame.body, code) {
            Some(reply) => self.answer(context, &reply, frame.length),
            None => context.fail(
                ErrorCode::InvalidFrameType,
                format!("denied request of API {}, which has no error reply", frame.api_key),
            ),
        }
    }

    fn reply(&mut self, context: &mut Context<'_>, data: &[u8]) -> Op {
        if let Some(length) = self.dropping_reply.take() {
            return Op::Drop(length);
        }
        let Some(length) = frame_length(data).filter(|length| (PEEK..=usize::MAX).contains(length)) else {
            return context.fail(ErrorCode::InvalidFrameLength, "a length that no reply has");
        };
        let correlation_id = i32::from_be_bytes([data[4], data[5], data[6], data[7]]);
        // Kafka answers in order. A reply to nothing known is passed: it cannot be taken for another.
        let sent = self.pipeline.next().filter(|sent| sent.correlation_id == correlation_id).cloned();
        let Some(sent) = sent else {
            context.log(EntryType::Response, L7::Kafka(KafkaEntry { correlation_id, ..KafkaEntry::default() }));
            return Op::Pass(length);
        };
        let version = sent.request.api_version;
        let needed = match sent.kind {
            Kind::Plain => PEEK,
            Kind::NewSession => length.min(FETCH_HEAD),
            Kind::Versions | Kind::Metadata | Kind::PartOfMetadata(_) => length,
        };
        if data.len() < needed {
            return Op::More(needed - data.len());
        }
        self.pipeline.answered();
        context.log(EntryType::Response, L7::Kafka(entry(&sent.request, correlation_id, 0)));
        match sent.kind {
            Kind::Plain => {}
            Kind::Versions => {
                let reply = versions::clip(&data[..length], version);
                return self.replace_reply(context, length, reply, "a malformed reply to ApiVersions");
            }
            Kind::NewSession => self.learn_session(&data[..needed], sent.request),
            Kind::Metadata => {
                if let Some(response) = metadata(&data[..length], version) {
                    self.learn_topics(&response);
                }
            }
            Kind::PartOfMetadata(denied) => {
                let reply = metadata(&data[..length], version)
                    .and_then(|response| self.filter_topics(context, response, &sent.request, denied, correlation_id));
                return self.replace_reply(context, length, reply, "a malformed metadata reply");
            }
        }
        Op::Pass(length)
    }

    fn learn_session(&mut self, head: &[u8], request: Request) {
        let body = match (request.api_version >= 12, head.get(PEEK)) {
            // Tags in the header are not counted on: the session stays unknown, and the client starts over.
            (true, Some(0)) => &head[PEEK + 1..],
            (false, _) => &head[PEEK..],
            (true, _) => return,
        };
        let Some(session) = body.get(6..10) else { return };
        let id = i32::from_be_bytes([session[0], session[1], session[2], session[3]]);
        if id != 0 {
            self.sessions.set(id, request.topics);
        }
    }

    fn replace_reply(&mut self, context: &mut Context<'_>, length: usize, by: Option<Vec<u8>>, problem: &str) -> Op {
        let Some(reply) = by else { return context.fail(ErrorCode::InvalidFrameType, problem) };
        self.dropping_reply = Some(length);
        context.inject(true, &reply);
        Op::Inject(reply.len())
    }
}

fn entry(request: &Request, correlation_id: i32, error_code: i16) -> KafkaEntry {
    KafkaEntry {
        correlation_id,
        error_code: error_code.into(),
        api_version: request.api_version.into(),
        api_key: request.api_key.into(),
        topics: request.topics.clone(),
    }
}

impl Parser for Kafka {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        if self.failed {
            return Op::Nop;
        }
        if reply && self.dropping_reply.is_none() {
            let released = self.pipeline.release(context);
            if released > 0 {
                return Op::Inject(released);
            }
        }
        match data.len() {
            0 => Op::Nop,
            length @ 1..PEEK => Op::More(PEEK - length),
            _ if reply => self.reply(context, data),
            _ => self.request(context, data),
        }
    }
}
