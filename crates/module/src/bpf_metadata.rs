//! The listener filter `cilium.bpf_metadata`: finds out who talks to whom and leaves it for the other filters.

use std::cell::RefCell;
use std::net::SocketAddr;
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
use crate::tls_choice::{self, Choice};
use crate::tls_hold::{self, Hold};

/// Seconds of silence before the first keep-alive probe, and between probes.
const KEEPALIVE: i32 = 300;

pub(crate) struct Factory {
    config: Arc<Config>,
    identities: Source,
    marked: bool,
    tls_refused: Counter,
    tls_missing: Counter,
}

impl Factory {
    pub(crate) fn new(config: &[u8], envoy: &ListenerFilterConfig) -> Result<Self, ConfigError> {
        let message = BpfMetadata::decode(config)?;
        let config = Arc::new(Config::new(&message)?);
        let identities = Source::open(&message)?;
        let tls_refused = envoy.define_counter("policy.tls_wrapper_missing_policy")?;
        let tls_missing = envoy.define_counter("policy.tls_context_missing")?;
        Ok(Self { config, identities, marked: identities::marks_sockets(), tls_refused, tls_missing })
    }
}

impl ListenerFilterFactory for Factory {
    fn filter(&self) -> Rc<dyn ListenerFilter> {
        Rc::new(Filter {
            config: Arc::clone(&self.config),
            identities: self.identities,
            marked: self.marked,
            tls_refused: self.tls_refused,
            tls_missing: self.tls_missing,
            held: RefCell::new(None),
        })
    }
}

struct Filter {
    config: Arc<Config>,
    identities: Source,
    /// Upstream sockets get marks.
    marked: bool,
    tls_refused: Counter,
    tls_missing: Counter,
    held: RefCell<Option<Held>>,
}

/// Metadata of a connection, and what follows for its upstream sockets.
struct Found {
    flow: Flow,
    metadata: Metadata,
    upstream: UpstreamSocket,
}

/// A connection that waits for its TLS context.
struct Held {
    hold: Hold,
    context: Vec<u8>,
    destination: SocketAddr,
}

impl ListenerFilter for Filter {
    fn on_accept(&self, connection: &mut Accepted<'_>) -> Accept {
        for (level, option, value) in [
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, KEEPALIVE),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, KEEPALIVE),
        ] {
            if !connection.set_socket_option(level, option, value) {
                return Accept::Close(format!("cilium.bpf_metadata: setting socket option {option} failed"));
            }
        }
        let Some(Found { flow, metadata, upstream }) = self.metadata(connection) else { return Accept::Continue };
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
        if self.config.tls_chains {
            return self.choose(connection, context, flow.destination);
        }
        Accept::Continue
    }

    fn on_scheduled(&self, connection: &mut Accepted<'_>, event: u64) -> Accept {
        let Some(Held { hold, context, destination }) = self.held.take() else { return Accept::Hold };
        let waits_on = hold.on_event(event);
        let choice = self.look(connection, &context, destination);
        match choice {
            Choice::Unheard | Choice::Missing(_) if waits_on => {
                *self.held.borrow_mut() = Some(Held { hold, context, destination });
                Accept::Hold
            }
            choice => self.act(connection, choice),
        }
    }
}

impl Filter {
    /// Chooses the connection's chain and sockets, or has it wait for them.
    fn choose(&self, connection: &mut Accepted<'_>, context: Vec<u8>, destination: SocketAddr) -> Accept {
        match self.look(connection, &context, destination) {
            Choice::Unheard | Choice::Missing(_) => match Hold::new(connection) {
                Ok(hold) => {
                    *self.held.borrow_mut() = Some(Held { hold, context, destination });
                    Accept::Hold
                }
                Err(error) => Accept::Close(details("cilium.bpf_metadata", &format!("no timer: {error}"))),
            },
            choice => self.act(connection, choice),
        }
    }

    fn look(&self, connection: &mut Accepted<'_>, context: &[u8], destination: SocketAddr) -> Choice {
        let Some(context) = Context::decode(context) else {
            return Choice::Refused("the metadata is broken".to_owned());
        };
        let required = self.config.tls_required;
        tls_choice::choose(connection, &context, destination, &enforced::load(), tls_hold::heard(), required)
    }

    fn act(&self, connection: &mut Accepted<'_>, choice: Choice) -> Accept {
        let (counter, reason) = match choice {
            Choice::Left => return Accept::Continue,
            Choice::Refused(reason) => (self.tls_refused, reason),
            Choice::Missing(reason) => (self.tls_missing, reason),
            // The worker hears of everything that it looks for again.
            Choice::Unheard => (self.tls_missing, "Envoy does not have the TLS context yet".to_owned()),
        };
        connection.increment(counter);
        log(Level::Info, &format!("cilium.bpf_metadata: {reason}"));
        tls_choice::refuse(connection, &reason);
        Accept::Continue
    }

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
