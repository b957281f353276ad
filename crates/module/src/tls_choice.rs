//! How policy wants a connection carried, towards the client and towards the server, for listeners whose sockets are
//! chosen by it (`cilium.tls_wrapper` in the reference).

use std::net::SocketAddr;

use cilium_abi::listener::Accepted;
use cilium_channel::{State, TlsContextPlace};
use cilium_policy::{TlsContext, TlsSide, TlsVerdict};

use crate::metadata::Context;
use crate::target::Target;

/// The transport protocol that Envoy's TLS inspector finds.
const TLS: &str = "tls";

/// Filter state that the upstream's transport socket is chosen by: `raw` or a context's name.
const UPSTREAM_KEY: &str = "cilium.tls.upstream";

/// As `UPSTREAM_KEY`, for one request.
pub(crate) const REQUEST_KEY: &str = "cilium.tls.upstream.request";

/// Filter state with the reason for which a connection is refused. Its filter chain has `cilium.network` alone, which
/// says so and closes.
pub(crate) const REFUSED_KEY: &str = "cilium.tls.refused";

const RAW: &str = "raw";

/// What became of a connection's choice.
pub(crate) enum Choice {
    /// Left where Envoy picks chains and sockets by it.
    Left,
    /// Envoy has the context, but its worker may not have heard of it.
    Unheard,
    /// Envoy does not have the context, for this reason.
    Missing(String),
    /// Policy does not have the connection, for this reason.
    Refused(String),
}

/// Chooses among what Envoy has. `heard`: the generation of contexts that this worker has heard of. `required`: no
/// client goes without the TLS that policy has for it.
///
/// The server's side has no choice when policy refuses it: its cluster then has no socket for the connection.
pub(crate) fn choose(
    connection: &mut Accepted<'_>,
    context: &Context<'_>,
    destination: SocketAddr,
    state: &State,
    heard: u64,
    required: bool,
) -> Choice {
    if context.l7lb {
        return Choice::Left;
    }
    let target = Target::new(context, destination, state);
    let server_name = connection.server_name().unwrap_or_default();
    let port = context.policy(state, context.pod).port(target.direction, target.port);
    let verdict = |side| port.tls(side, context.proxy_id, target.remote, server_name);
    let towards_server = match verdict(TlsSide::Client) {
        TlsVerdict::Context(wanted) => Some(wanted.name()),
        TlsVerdict::Raw => Some(RAW),
        TlsVerdict::Refused(_) => None,
    };
    let is_tls = connection.transport_protocol() == Some(TLS);
    let towards_client = match verdict(TlsSide::Server) {
        TlsVerdict::Context(_) if required && !is_tls => {
            return Choice::Refused("the client does not speak TLS, which its rule demands".to_owned());
        }
        _ if !is_tls => None,
        TlsVerdict::Context(wanted) => Some(wanted.name()),
        TlsVerdict::Raw => None,
        TlsVerdict::Refused(reason) => return Choice::Refused(reason.describe(context.pod).to_string()),
    };
    let mut unheard = false;
    for (end, name) in [("client", towards_client), ("server", towards_server.filter(|name| *name != RAW))] {
        match name.map(|name| state.tls.get(name)) {
            None => {}
            Some(Some(TlsContextPlace::InPlace { since })) => unheard |= *since > heard,
            Some(place) => return Choice::Missing(missing(end, place)),
        }
    }
    if unheard {
        return Choice::Unheard;
    }
    let towards_client = towards_client.map(|name| format!("cilium:{name}"));
    if let Some(name) = towards_server {
        connection.set_filter_state(UPSTREAM_KEY, name.as_bytes());
    }
    if let Some(protocol) = towards_client {
        connection.set_transport_protocol(&protocol);
    }
    Choice::Left
}

/// Has the connection refused where its log is.
pub(crate) fn refuse(connection: &mut Accepted<'_>, reason: &str) {
    connection.set_filter_state(REFUSED_KEY, reason.as_bytes());
    connection.set_transport_protocol("cilium:refused");
}

/// The upstream verdict on a request, for the filter that shares it with the upstream connection: `raw` or a context's
/// name. `None` when policy has none, and no socket is to be had.
pub(crate) fn of_request<'v>(verdict: &TlsVerdict<'v>, state: &State) -> Result<Option<&'v str>, String> {
    match verdict {
        TlsVerdict::Raw => Ok(Some(RAW)),
        TlsVerdict::Refused(_) => Ok(None),
        TlsVerdict::Context(wanted) => {
            let wanted: &'v TlsContext = wanted;
            match state.tls.get(wanted.name()) {
                Some(TlsContextPlace::InPlace { .. }) => Ok(Some(wanted.name())),
                place => Err(missing("server", place)),
            }
        }
    }
}

fn missing(end: &str, place: Option<&TlsContextPlace>) -> String {
    let reason = match place {
        Some(TlsContextPlace::Missing(reason)) => reason.as_str(),
        _ => "Envoy does not have the context yet",
    };
    format!("TLS with the {end} is not possible: {reason}")
}
