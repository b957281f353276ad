//! The HTTP filter `cilium.l7policy`: the verdict on a request, its header actions, and the access log.
//!
//! Downstream it judges requests to the destination the client chose. Where load balancing chooses it, the downstream
//! filter only begins and ends the log entry, and the same filter in the upstream chain judges each attempt.

mod closing;
mod config;
mod entry;
mod exchange;
mod headers;
mod upstream;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::http::{
    Attribute, HeaderKind, HeadersStatus, HttpFilter, HttpFilterConfig, HttpFilterFactory, Stream, StreamInfo,
};
use cilium_accesslog::EntryType;
use cilium_policy::{HeaderLog, TlsSide};

use crate::balanced::Balanced;
use crate::enforced;
use crate::known::Known;
use crate::l7policy::config::Config;
use crate::l7policy::exchange::Exchange;
use crate::l7policy::headers::RequestHeaders;
use crate::log::{self, PooledEntry};
use crate::metadata::Context;
use crate::target::Target;
use crate::tls_choice;

/// gRPC status codes of refusals. Envoy would send 0, success, as the ABI leaves it no other choice.
const PERMISSION_DENIED: &[u8] = b"7";
const INTERNAL: &[u8] = b"13";
const UNAVAILABLE: &[u8] = b"14";

pub(crate) struct Factory {
    config: Arc<Config>,
}

impl Factory {
    pub(crate) fn new(config: &[u8], envoy: &HttpFilterConfig) -> Result<Self, ConfigError> {
        Ok(Self { config: Arc::new(Config::new(config, envoy)?) })
    }
}

impl HttpFilterFactory for Factory {
    fn filter(&self) -> Rc<dyn HttpFilter> {
        Rc::new(Filter { config: Arc::clone(&self.config), record: RefCell::new(Record::None) })
    }
}

struct Filter {
    config: Arc<Config>,
    record: RefCell<Record>,
}

/// The entry that the request fills and the response completes.
enum Record {
    /// No access log, or an upstream filter, which leaves the entry to the downstream one.
    None,
    Own(PooledEntry),
    /// With the upstream filters.
    Shared(Rc<Exchange>),
}

/// How a request ends here.
enum Refusal {
    /// Policy says no: 403.
    Denied(String),
    /// The filter cannot know what policy says: 500.
    Error(&'static str),
    /// Policy wants the request sent in a way that is not possible yet: 503.
    Unavailable(String),
}

impl HttpFilter for Filter {
    fn on_request_headers(&self, stream: &mut Stream<'_>, _end_stream: bool) -> HeadersStatus {
        // Only filters in the upstream chain find a host.
        let outcome = if stream.info().attribute(Attribute::UpstreamAddress).is_some() {
            upstream::enforce(&self.config, stream)
        } else {
            self.enforce(stream)
        };
        match outcome {
            Ok(()) => HeadersStatus::Continue,
            Err(refusal) => self.refuse(stream, &refusal),
        }
    }

    fn on_response_headers(&self, stream: &mut Stream<'_>, _end_stream: bool) -> HeadersStatus {
        let unjudged = match &*self.record.borrow() {
            Record::Shared(exchange) if !exchange.judged.get() => judge_late(stream.info(), exchange).err(),
            _ => None,
        };
        if let Some(reason) = unjudged {
            // The stream may be over when the answer is sent.
            self.with_entry(|queue, entry| {
                entry.set_rule(&reason);
                queue.log(entry, EntryType::Denied);
            });
            return self.refuse(stream, &Refusal::Denied(reason));
        }
        self.log_response(stream);
        if closing::is_due(stream) {
            stream.call_later();
            return HeadersStatus::Pause;
        }
        HeadersStatus::Continue
    }

    fn on_later(&self, stream: &mut Stream<'_>) {
        stream.drain_connection();
        stream.continue_response();
    }

    fn on_stream_complete(&self, _stream: &mut Stream<'_>) {
        self.with_entry(|queue, entry| {
            if !entry.request_logged() {
                queue.log(entry, EntryType::Request);
            }
        });
    }
}

impl Filter {
    fn enforce(&self, stream: &mut Stream<'_>) -> Result<(), Refusal> {
        let (info, headers) = stream.headers(HeaderKind::Request);
        let mut headers = RequestHeaders::new(headers);
        let known = known(info)?;
        let context = known.context();
        let state = enforced::load();
        let target = Target::new(&context, known.destination, &state);
        let identity = target.destination_identity;
        let begin = || entry::begin(info, &context, identity, &known.destination_text);
        let server_name = info.attribute(Attribute::RequestedServerName).unwrap_or_default();
        if context.l7lb {
            let entry = self.config.log.is_some().then(|| {
                let mut entry = begin();
                entry.update_from_request(identity, &known.destination_text, headers.iter());
                entry
            });
            let exchange = Exchange::open(entry, self.config.log.as_ref(), server_name);
            drop(headers);
            let left = stream.set_filter_state(exchange::KEY, &exchange.token());
            *self.record.borrow_mut() = Record::Shared(exchange);
            return if left { Ok(()) } else { Err(Refusal::Error("Envoy refused the filter state")) };
        }

        let policy = context.policy(&state, context.pod);
        let port = policy.port(target.direction, target.port);
        let mut findings = HeaderLog::default();
        // Policy may have changed since the connection was allowed.
        let connection = known.allowed(policy, target.remote, server_name, || {
            let verdict = port.network(context.proxy_id, target.remote, server_name);
            if verdict.allowed { Ok(()) } else { Err(verdict) }
        });
        let verdict = match connection {
            Ok(()) => port.http(context.proxy_id, target.remote, &mut headers, &mut findings),
            Err(denied) => denied,
        };
        let reason = (!verdict.allowed).then(|| verdict.reason.describe(context.pod).to_string());
        // Policy may have changed since the connection was accepted, here too.
        let socket = (self.config.upstream_tls && verdict.allowed)
            .then(|| port.tls(TlsSide::Client, context.proxy_id, target.remote, server_name))
            .map(|carried| tls_choice::of_request(&carried, &state));
        if let Some(queue) = &self.config.log {
            let mut entry = begin();
            entry.update_from_request(identity, "", headers.iter());
            log::add_findings(&mut entry, &findings);
            entry.set_rule(reason.as_deref().or_else(|| verdict.reason.rule()).unwrap_or_default());
            queue.log(&mut entry, if verdict.allowed { EntryType::Request } else { EntryType::Denied });
            *self.record.borrow_mut() = Record::Own(entry);
        }
        if let Some(reason) = reason {
            return Err(Refusal::Denied(reason));
        }
        drop(headers);
        match socket {
            None | Some(Ok(None)) => Ok(()),
            Some(Ok(Some(name))) if stream.set_filter_state(tls_choice::REQUEST_KEY, name.as_bytes()) => Ok(()),
            Some(Ok(Some(_))) => Err(Refusal::Error("Envoy refused the filter state")),
            Some(Err(reason)) => Err(Refusal::Unavailable(reason)),
        }
    }

    fn refuse(&self, stream: &mut Stream<'_>, refusal: &Refusal) -> HeadersStatus {
        let grpc = is_grpc(stream);
        match refusal {
            Refusal::Denied(reason) => {
                stream.increment(self.config.access_denied);
                let details = log::details("cilium.l7policy", reason);
                let header = self.config.reason_header.as_deref().map(|name| (name, reason.as_bytes()));
                let status = grpc.then_some(("grpc-status", PERMISSION_DENIED));
                let headers: Vec<_> = header.into_iter().chain(status).collect();
                // Envoy makes the body of a gRPC reply its message, where a line end would be escaped.
                let body = self.config.denied_body.as_str();
                let body = if grpc { body.trim_end() } else { body };
                stream.send_response(403, &headers, body.as_bytes(), &details);
                self.log_own_response(header);
            }
            Refusal::Unavailable(reason) => {
                stream.increment(self.config.tls_missing);
                let status = grpc.then_some(("grpc-status", UNAVAILABLE));
                stream.send_response(503, status.as_slice(), b"", &log::details("cilium.l7policy", reason));
            }
            Refusal::Error(problem) => {
                let status = grpc.then_some(("grpc-status", INTERNAL));
                stream.send_response(500, status.as_slice(), b"", &log::details("cilium.l7policy", problem));
            }
        }
        HeadersStatus::StopIteration
    }

    fn log_response(&self, stream: &mut Stream<'_>) {
        let logged = self.with_entry(|queue, entry| {
            let (_, headers) = stream.headers(HeaderKind::Response);
            let mut denied = false;
            if !entry.request_logged() {
                denied = headers.iter().any(|header| header == (b":status", b"403"));
                queue.log(entry, if denied { EntryType::Denied } else { EntryType::Request });
            }
            entry.update_from_response(log::now(), headers.iter());
            queue.log(entry, EntryType::Response);
            denied
        });
        if logged == Some(true) {
            stream.increment(self.config.access_denied);
        }
    }

    /// Envoy does not call a filter for the response that it sent itself.
    fn log_own_response(&self, reason: Option<(&str, &[u8])>) {
        self.with_entry(|queue, entry| {
            let length = self.config.denied_body.len().to_string();
            let headers = [(":status", b"403".as_slice()), ("content-length", length.as_bytes())];
            let all = headers.into_iter().chain(reason).chain([("content-type", b"text/plain".as_slice())]);
            entry.update_from_response(log::now(), all.map(|(name, value)| (name.as_bytes(), value)));
            queue.log(entry, EntryType::Response);
        });
    }

    fn with_entry<R>(&self, act: impl FnOnce(&cilium_accesslog::Queue, &mut PooledEntry) -> R) -> Option<R> {
        let queue = self.config.log.as_deref()?;
        match &mut *self.record.try_borrow_mut().ok()? {
            Record::None => None,
            Record::Own(entry) => Some(act(queue, entry)),
            Record::Shared(exchange) => Some(act(queue, exchange.entry.try_borrow_mut().ok()?.as_mut()?)),
        }
    }
}

/// What is known of the stream's connection.
fn known(info: StreamInfo<'_>) -> Result<Rc<Known>, Refusal> {
    Known::of(info.connection_id(), || {
        let context = info.filter_state(Context::KEY).ok_or(Refusal::Error("Cilium policy filter state not found"))?;
        let context = Context::decode(context).ok_or(Refusal::Error("Cilium policy filter state is broken"))?;
        let destination = info.attribute(Attribute::DestinationAddress).and_then(|text| text.parse().ok());
        let destination = destination.ok_or(Refusal::Error("the destination is no IP address"))?;
        Ok(Known::new(&context, destination))
    })
}

fn is_grpc(stream: &mut Stream<'_>) -> bool {
    let (_, headers) = stream.headers(HeaderKind::Request);
    headers.iter().any(|(name, value)| name == b"content-type" && value.starts_with(b"application/grpc"))
}

/// A response from a host that no upstream filter judged, because the cluster has none: whom policy does not let the
/// connection reach does not answer either.
fn judge_late(info: StreamInfo<'_>, exchange: &Exchange) -> Result<(), String> {
    let Some(host) = info.attribute(Attribute::UpstreamAddress) else { return Ok(()) };
    let context = info.filter_state(Context::KEY).and_then(Context::decode);
    let (Some(context), Ok(host)) = (context, host.parse()) else {
        return Err("the chosen host has no IP address".to_owned());
    };
    let state = enforced::load();
    Balanced::new(&context, &state, host).connection(&exchange.server_name).outcome.map(drop)
}
