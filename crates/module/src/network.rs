//! The network filter `cilium.network`: the verdict on a connection, before anything is connected upstream.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::network::{Connection, NetworkFilter, NetworkFilterFactory, Status};
use cilium_accesslog::{Connection as Ends, EntryType, Queue};
use cilium_channel::State;
use cilium_policy::Direction;
use cilium_proto::cilium::NetworkFilter as Message;
use prost::Message as _;

use crate::enforced;
use crate::log::{self, PooledEntry};
use crate::metadata::{Context, WORLD};

const UPSTREAM_SERVER_NAME: &str = "envoy.network.upstream_server_name";
const UPSTREAM_ALT_NAMES: &str = "envoy.network.upstream_subject_alt_names";

pub(crate) struct Factory {
    log: Option<Arc<Queue>>,
}

impl Factory {
    pub(crate) fn new(config: &[u8]) -> Result<Self, ConfigError> {
        let message = Message::decode(config)?;
        Ok(Self { log: log::open(&message.access_log_path)? })
    }
}

impl NetworkFilterFactory for Factory {
    fn filter(&self) -> Rc<dyn NetworkFilter> {
        Rc::new(Filter { log: self.log.clone() })
    }
}

struct Filter {
    log: Option<Arc<Queue>>,
}

impl NetworkFilter for Filter {
    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Status {
        match self.enforce(connection) {
            Ok(()) => {
                pass_server_name(connection);
                Status::Continue
            }
            Err(reason) => {
                connection.reset(&log::details("cilium.network", &reason));
                Status::StopIteration
            }
        }
    }
}

impl Filter {
    fn enforce(&self, connection: &Connection<'_>) -> Result<(), String> {
        let context = connection
            .filter_state(Context::KEY)
            .and_then(Context::decode)
            .ok_or("the connection has no policy metadata")?;
        // Load balancing: the destination that policy is about is chosen later.
        if context.l7lb {
            return Ok(());
        }
        let destination = connection.local_address().ok_or("the destination is no IP address")?;
        let state = enforced::load();
        let sni = connection.server_name().unwrap_or_default();
        let target = Target::new(&context, destination, &state);
        let policy = state.policies.policy(context.pod, context.allow_egress);
        let verdict = policy.port(target.direction, target.port).network(context.proxy_id, target.remote, sni);
        if verdict.allowed {
            return Ok(());
        }
        let reason = verdict.reason.describe(context.pod).to_string();
        self.log_denied(connection, &context, &target, destination, &reason);
        Err(reason)
    }

    fn log_denied(
        &self,
        connection: &Connection<'_>,
        context: &Context<'_>,
        target: &Target,
        destination: SocketAddr,
        reason: &str,
    ) {
        let Some(queue) = &self.log else { return };
        let source = connection.remote_address().map(|address| address.to_string()).unwrap_or_default();
        let mut entry = PooledEntry::new();
        entry.init_from_connection(
            &Ends {
                policy_name: context.pod,
                proxy_id: context.proxy_id,
                ingress: context.ingress,
                source_identity: context.source_identity,
                source_address: &source,
                destination_identity: target.destination_identity,
                destination_address: &destination.to_string(),
            },
            log::now(),
        );
        entry.set_rule(reason);
        queue.log(&mut entry, EntryType::Denied);
    }
}

/// What policy is asked about.
pub(crate) struct Target {
    pub(crate) direction: Direction,
    pub(crate) remote: u32,
    pub(crate) port: u16,
    /// Reported as 0 for ingress.
    pub(crate) destination_identity: u32,
}

impl Target {
    pub(crate) fn new(context: &Context<'_>, destination: SocketAddr, state: &State) -> Self {
        if context.ingress {
            return Self {
                direction: Direction::Ingress,
                remote: context.source_identity,
                port: context.port,
                destination_identity: 0,
            };
        }
        let address = context.destination.unwrap_or(destination.ip());
        let identity = state.hosts.resolve(address).unwrap_or(WORLD);
        Self { direction: Direction::Egress, remote: identity, port: context.port, destination_identity: identity }
    }
}

/// The client's server name goes to the upstream, which must present a certificate for it, unless the cluster says
/// otherwise.
fn pass_server_name(connection: &mut Connection<'_>) {
    let balanced = connection.filter_state(Context::KEY).and_then(Context::decode).is_none_or(|context| context.l7lb);
    if balanced {
        return;
    }
    let Some(name) = connection.server_name().map(str::to_owned) else { return };
    if connection.has_typed_filter_state(UPSTREAM_SERVER_NAME) || connection.has_typed_filter_state(UPSTREAM_ALT_NAMES)
    {
        return;
    }
    connection.set_typed_filter_state(UPSTREAM_SERVER_NAME, &name);
    connection.set_typed_filter_state(UPSTREAM_ALT_NAMES, &name);
}
