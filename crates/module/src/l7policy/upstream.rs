//! `cilium.l7policy` as an upstream filter: the verdict on a request where load balancing chose the host, on every attempt
//! and before any byte goes there.

use std::net::SocketAddr;
use std::rc::Rc;

use cilium_abi::http::{Attribute, HeaderKind, Stream, StreamInfo};
use cilium_accesslog::EntryType;
use cilium_policy::HeaderLog;

use crate::balanced::Balanced;
use crate::enforced;
use crate::l7policy::Refusal;
use crate::l7policy::config::Config;
use crate::l7policy::entry;
use crate::l7policy::exchange::{self, Exchange};
use crate::l7policy::headers::RequestHeaders;
use crate::log;
use crate::metadata::Context;
use crate::target::Target;

/// Judges an attempt. Its stream has an upstream address.
pub(super) fn enforce(config: &Config, stream: &mut Stream<'_>) -> Result<(), Refusal> {
    let (info, headers) = stream.headers(HeaderKind::Request);
    let mut headers = RequestHeaders::new(headers);
    let Some(context) = info.filter_state(Context::KEY) else {
        // Without a connection it is a mirrored request: nobody waits for its answer, and the one it mirrors is judged.
        return match info.connection_id() {
            Some(_) if !config.judge_known_only => Err(Refusal::Error("Cilium policy filter state not found")),
            _ => Ok(()),
        };
    };
    let context = Context::decode(context).ok_or(Refusal::Error("Cilium policy filter state is broken"))?;
    if !context.l7lb {
        return Ok(());
    }
    if context.pod.is_empty() && context.ingress_policy.is_empty() && !config.judge_known_only {
        return Err(Refusal::Error("no policy is configured for this load balancer"));
    }
    let host_text = info.attribute(Attribute::UpstreamAddress).unwrap_or_default();
    let host: SocketAddr = host_text.parse().map_err(|_| Refusal::Error("the chosen host has no IP address"))?;

    let exchange =
        info.filter_state(exchange::KEY).and_then(Exchange::find).unwrap_or_else(|| alone(config, info, &context));
    exchange.judged.set(true);
    let state = enforced::load();
    let balanced = Balanced::new(&context, &state, host);
    let mut findings = HeaderLog::default();
    let mut judged = balanced.connection(&exchange.server_name);
    if judged.outcome.is_ok() {
        judged = balanced.request(&mut headers, &mut findings);
    }
    if let (Some(queue), Some(entry)) =
        (config.log.as_ref().or(exchange.log.as_ref()), exchange.entry.borrow_mut().as_mut())
    {
        entry.set_policy_name(judged.policy_name);
        entry.update_from_request(balanced.identity, host_text, headers.iter());
        log::add_findings(entry, &findings);
        match &judged.outcome {
            Err(reason) => {
                entry.set_rule(reason);
                queue.log(entry, EntryType::Denied);
            }
            Ok(rule) => {
                entry.set_rule(rule.as_deref().unwrap_or_default());
                if !entry.request_logged() {
                    queue.log(entry, EntryType::Request);
                }
            }
        }
    }
    judged.outcome.map(drop).map_err(Refusal::Denied)
}

/// The exchange of a stream that no downstream filter began.
fn alone(config: &Config, info: StreamInfo<'_>, context: &Context<'_>) -> Rc<Exchange> {
    let destination = info.attribute(Attribute::DestinationAddress).unwrap_or_default();
    let target = destination.parse().map(|address| Target::new(context, address, &enforced::load()));
    let identity = target.map_or(0, |target| target.destination_identity);
    let entry = config.log.is_some().then(|| entry::begin(info, context, identity, destination));
    Exchange::open(entry, config.log.as_ref(), info.attribute(Attribute::RequestedServerName).unwrap_or_default())
}
