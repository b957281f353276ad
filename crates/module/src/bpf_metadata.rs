//! The listener filter `cilium.bpf_metadata`: finds out who talks to whom and leaves it for the other filters.

use std::rc::Rc;
use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::listener::{Accept, Accepted, Counter, ListenerFilter, ListenerFilterConfig, ListenerFilterFactory};
use cilium_abi::log::{Level, enabled, log};
use cilium_proto::cilium::BpfMetadata;
use prost::Message;

use crate::enforced;
use crate::identities::{self, Directory, Source};
use crate::log::details;
use crate::metadata::{Config, Context, Flow, Metadata, UpstreamSocket, describe, extract};
use crate::tls_choice;

/// Seconds of silence before the first keep-alive probe, and between probes.
const KEEPALIVE: i32 = 300;

pub(crate) struct Factory {
    config: Arc<Config>,
    identities: Source,
    marked: bool,
    tls_refused: Counter,
}

impl Factory {
    pub(crate) fn new(config: &[u8], envoy: &ListenerFilterConfig) -> Result<Self, ConfigError> {
        let message = BpfMetadata::decode(config)?;
        let config = Arc::new(Config::new(&message)?);
        let identities = Source::open(&message)?;
        let tls_refused = envoy.define_counter("policy.tls_wrapper_missing_policy")?;
        Ok(Self { config, identities, marked: identities::marks_sockets(), tls_refused })
    }
}

impl ListenerFilterFactory for Factory {
    fn filter(&self) -> Rc<dyn ListenerFilter> {
        Rc::new(Filter {
            config: Arc::clone(&self.config),
            identities: self.identities,
            marked: self.marked,
            tls_refused: self.tls_refused,
        })
    }
}

struct Filter {
    config: Arc<Config>,
    identities: Source,
    /// Upstream sockets get marks.
    marked: bool,
    tls_refused: Counter,
}

/// Metadata of a connection, and what follows for its upstream sockets.
struct Found {
    flow: Flow,
    metadata: Metadata,
    upstream: UpstreamSocket,
}

impl ListenerFilter for Filter {
    fn on_accept(&self, connection: &mut Accepted<'_>) -> Accept {
        if let Some(Found { flow, metadata, upstream }) = self.metadata(connection) {
            if let Some(parser) = &metadata.parser {
                connection.add_application_protocol(parser);
            }
            let socket = upstream.encode();
            let context = Context::encode(&metadata, self.identities);
            let kept = connection.set_filter_state(Context::KEY, &context)
                && socket.is_none_or(|bytes| connection.set_filter_state(UpstreamSocket::KEY, &bytes));
            if enabled(Level::Debug) {
                let protocols = connection.application_protocols();
                let found = describe(flow, &metadata, &upstream, &protocols);
                log(Level::Debug, &format!("cilium.bpf_metadata: {found}"));
            }
            if !kept {
                return Accept::Close("cilium.bpf_metadata: Envoy refused the filter state".to_owned());
            }
            if self.config.tls_chains
                && let Some(context) = Context::decode(&context)
                && let Err(reason) = tls_choice::leave(connection, &context, flow.destination, &enforced::load())
            {
                connection.increment(self.tls_refused);
                return Accept::Close(details("cilium.bpf_metadata", &reason));
            }
        }
        for (level, option, value) in [
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, KEEPALIVE),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, KEEPALIVE),
        ] {
            if !connection.set_socket_option(level, option, value) {
                return Accept::Close(format!("cilium.bpf_metadata: setting socket option {option} failed"));
            }
        }
        Accept::Continue
    }
}

impl Filter {
    /// `None`: the filters after this one find nothing and refuse what comes.
    fn metadata(&self, connection: &mut Accepted<'_>) -> Option<Found> {
        let redirected = self.config.local_endpoint.as_ref().and_then(|_| connection.original_destination());
        let flow = Flow {
            source: connection.remote_address()?,
            destination: redirected.or_else(|| connection.socket_address())?,
        };
        let state = enforced::load();
        let directory = Directory { source: self.identities, hosts: &state.hosts };
        match extract(&self.config, flow, &state.policies, &directory) {
            Ok(metadata) => {
                // Original-destination clusters only trust an address that was restored.
                if self.config.local_endpoint.is_none() || redirected.is_some() {
                    connection.restore_local_address(flow.destination);
                }
                let upstream =
                    UpstreamSocket::new(&self.config, &metadata, flow.destination.ip(), &state.policies, self.marked);
                Some(Found { flow, metadata, upstream })
            }
            Err(refused) => {
                log(
                    Level::Warn,
                    &format!("cilium.bpf_metadata: {} -> {}: {}", flow.source, flow.destination, refused.0),
                );
                None
            }
        }
    }
}
