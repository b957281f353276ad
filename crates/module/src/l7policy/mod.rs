//! The HTTP filter `cilium.l7policy`: the verdict on a request, its header actions, and the access log.

mod config;
mod headers;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::http::{Attribute, HeaderKind, HeadersStatus, HttpFilter, HttpFilterConfig, HttpFilterFactory, Stream};
use cilium_accesslog::{Connection as Ends, EntryType, HttpProtocol};
use cilium_policy::HeaderLog;

use crate::enforced;
use crate::l7policy::config::Config;
use crate::l7policy::headers::RequestHeaders;
use crate::log::{self, PooledEntry};
use crate::metadata::Context;
use crate::network::Target;

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
        Rc::new(Filter { config: Arc::clone(&self.config), entry: RefCell::new(None) })
    }
}

struct Filter {
    config: Arc<Config>,
    /// Filled by the request, completed by the response. `None` without an access log.
    entry: RefCell<Option<PooledEntry>>,
}

/// How a request ends here.
enum Refusal {
    /// Policy says no: 403.
    Denied(String),
    /// The filter cannot know what policy says: 500.
    Error(&'static str),
}

impl HttpFilter for Filter {
    fn on_request_headers(&self, stream: &mut Stream<'_>, _end_stream: bool) -> HeadersStatus {
        match self.enforce(stream) {
            Ok(()) => HeadersStatus::Continue,
            Err(Refusal::Denied(reason)) => {
                stream.increment(self.config.access_denied);
                let details = log::details("cilium.l7policy", &reason);
                let header = self.config.reason_header.as_deref().map(|name| (name, reason.as_bytes()));
                stream.send_response(403, header.as_slice(), self.config.denied_body.as_bytes(), &details);
                HeadersStatus::StopIteration
            }
            Err(Refusal::Error(problem)) => {
                stream.send_response(500, &[], b"", &log::details("cilium.l7policy", problem));
                HeadersStatus::StopIteration
            }
        }
    }

    fn on_response_headers(&self, stream: &mut Stream<'_>, _end_stream: bool) -> HeadersStatus {
        let (Some(queue), Ok(mut entry)) = (&self.config.log, self.entry.try_borrow_mut()) else {
            return HeadersStatus::Continue;
        };
        let Some(entry) = entry.as_mut() else { return HeadersStatus::Continue };
        if !entry.request_logged() {
            queue.log(entry, EntryType::Request);
        }
        entry.update_from_response(log::now(), stream.headers(HeaderKind::Response).iter());
        queue.log(entry, EntryType::Response);
        HeadersStatus::Continue
    }

    fn on_stream_complete(&self, _stream: &mut Stream<'_>) {
        let (Some(queue), Ok(mut entry)) = (&self.config.log, self.entry.try_borrow_mut()) else { return };
        if let Some(entry) = entry.as_mut().filter(|entry| !entry.request_logged()) {
            queue.log(entry, EntryType::Request);
        }
    }
}

impl Filter {
    fn enforce(&self, stream: &mut Stream<'_>) -> Result<(), Refusal> {
        // Owned: the header map below borrows the stream.
        let bytes = stream
            .filter_state(Context::KEY)
            .map(<[u8]>::to_vec)
            .ok_or(Refusal::Error("Cilium policy filter state not found"))?;
        let context = Context::decode(&bytes).ok_or(Refusal::Error("Cilium policy filter state is broken"))?;
        if context.l7lb {
            return Err(Refusal::Error("destinations chosen by load balancing are enforced upstream only"));
        }
        let destination_text = stream.attribute(Attribute::DestinationAddress).unwrap_or_default().to_owned();
        let destination = destination_text.parse().map_err(|_| Refusal::Error("the destination is no IP address"))?;
        let state = enforced::load();
        let target = Target::new(&context, destination, &state);
        let mut entry = self.config.log.is_some().then(|| begin(stream, &context, &target, &destination_text));

        let policy = state.policies.policy(context.pod, context.allow_egress);
        let port = policy.port(target.direction, target.port);
        let mut headers = RequestHeaders::new(stream.headers(HeaderKind::Request));
        let mut findings = HeaderLog::default();
        let verdict = port.http(context.proxy_id, target.remote, &mut headers, &mut findings);
        let reason = (!verdict.allowed).then(|| verdict.reason.describe(context.pod).to_string());
        if let (Some(queue), Some(entry)) = (&self.config.log, entry.as_mut()) {
            entry.update_from_request(target.destination_identity, &destination_text, headers.iter());
            log::add_findings(entry, &findings);
            entry.set_rule(reason.as_deref().or_else(|| verdict.reason.rule()).unwrap_or_default());
            queue.log(entry, if verdict.allowed { EntryType::Request } else { EntryType::Denied });
        }
        *self.entry.borrow_mut() = entry;
        reason.map_or(Ok(()), |reason| Err(Refusal::Denied(reason)))
    }
}

/// The entry of a request whose headers policy has not touched yet.
fn begin(stream: &mut Stream<'_>, context: &Context<'_>, target: &Target, destination: &str) -> PooledEntry {
    let protocol = match stream.attribute(Attribute::RequestProtocol) {
        Some("HTTP/1.0") => HttpProtocol::Http10,
        Some("HTTP/2") => HttpProtocol::Http2,
        _ => HttpProtocol::Http11,
    };
    let mut entry = PooledEntry::new();
    let source = stream.attribute(Attribute::SourceAddress).unwrap_or_default();
    let ends = Ends {
        policy_name: context.pod,
        proxy_id: context.proxy_id,
        ingress: context.ingress,
        source_identity: context.source_identity,
        source_address: source,
        destination_identity: target.destination_identity,
        destination_address: destination,
    };
    entry.init_from_request(&ends, log::now(), protocol, std::iter::empty());
    entry
}
