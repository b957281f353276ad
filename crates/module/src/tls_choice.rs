//! How policy wants a connection carried, towards the client and towards the server, for listeners whose sockets are
//! chosen by it (`cilium.tls_wrapper` in the reference).

use std::net::SocketAddr;

use cilium_abi::listener::Accepted;
use cilium_channel::State;
use cilium_policy::{TlsSide, TlsVerdict};

use crate::metadata::Context;
use crate::target::Target;

/// The transport protocol that Envoy's TLS inspector finds.
const TLS: &str = "tls";

/// Filter state that the upstream's transport socket is chosen by: `raw` or a context's name.
const UPSTREAM_KEY: &str = "cilium.tls.upstream";

/// Leaves the choices where Envoy picks chains and sockets by them; the reason when the client's side has none.
///
/// The server's side has none when policy refuses it: its cluster then has no socket for the connection.
pub(crate) fn leave(
    connection: &mut Accepted<'_>,
    context: &Context<'_>,
    destination: SocketAddr,
    state: &State,
) -> Result<(), String> {
    if context.l7lb {
        return Ok(());
    }
    let target = Target::new(context, destination, state);
    let server_name = connection.server_name().unwrap_or_default().to_owned();
    let port = context.policy(state, context.pod).port(target.direction, target.port);
    let verdict = |side| port.tls(side, context.proxy_id, target.remote, &server_name);
    match verdict(TlsSide::Client) {
        TlsVerdict::Context(wanted) => {
            connection.set_filter_state(UPSTREAM_KEY, wanted.name().as_bytes());
        }
        TlsVerdict::Raw => {
            connection.set_filter_state(UPSTREAM_KEY, b"raw");
        }
        TlsVerdict::Refused(_) => {}
    }
    if connection.transport_protocol() != Some(TLS) {
        return Ok(());
    }
    match verdict(TlsSide::Server) {
        TlsVerdict::Context(wanted) => connection.set_transport_protocol(&format!("cilium:{}", wanted.name())),
        TlsVerdict::Raw => {}
        TlsVerdict::Refused(reason) => return Err(reason.describe(context.pod).to_string()),
    }
    Ok(())
}
