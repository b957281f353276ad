//! The access log entries of a handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use cilium_abi::network::Connection;
use cilium_accesslog::{Connection as Ends, EntryType, Queue};
use cilium_websocket::Head;

use crate::enforced;
use crate::log::{self, PooledEntry};
use crate::metadata::Context;

/// One handshake on its way to the log.
pub(super) struct Record {
    queue: Arc<Queue>,
    entry: PooledEntry,
}

impl Record {
    /// Of a connection without policy metadata only the addresses are known.
    pub(super) fn begin(queue: Arc<Queue>, connection: &Connection<'_>) -> Self {
        let text = |address: Option<SocketAddr>| address.map(|address| address.to_string()).unwrap_or_default();
        let destination = connection.local_address();
        let pod = destination.map(|address| address.ip().to_string()).unwrap_or_default();
        let context = context(connection);
        let mut entry = PooledEntry::new();
        entry.init_from_connection(
            &Ends {
                policy_name: context.map_or(&*pod, |context| context.pod),
                proxy_id: context.map_or(0, |context| context.proxy_id),
                ingress: context.is_none_or(|context| context.ingress),
                source_identity: context.map_or(0, |context| context.source_identity),
                source_address: &text(connection.remote_address()),
                destination_identity: identity(context, destination),
                destination_address: &text(destination),
            },
            log::now(),
        );
        Self { queue, entry }
    }

    /// The client's request, which is on its way.
    pub(super) fn request_sent(&mut self, head: &Head) {
        self.update(0, "", head);
        self.queue.log(&mut self.entry, EntryType::Request);
    }

    /// A request for a server, not judged yet.
    pub(super) fn request_received(&mut self, connection: &Connection<'_>, head: &Head) {
        let context = context(connection);
        let wanted = head.get("x-envoy-original-dst-host").and_then(|text| text.parse().ok());
        match wanted.filter(|_| context.is_some()) {
            Some(address) => self.update(identity(context, Some(address)), &address.to_string(), head),
            None => self.update(0, "", head),
        }
    }

    /// The server's answer, which is on its way.
    pub(super) fn response_sent(&mut self, head: &Head, accepted: bool) {
        self.queue.log(&mut self.entry, if accepted { EntryType::Request } else { EntryType::Denied });
        self.response(head);
    }

    /// An answer.
    pub(super) fn response(&mut self, head: &Head) {
        let headers: Vec<(&str, String)> = head.iter().collect();
        self.entry.update_from_response(log::now(), bytes(&headers));
        self.queue.log(&mut self.entry, EntryType::Response);
    }

    fn update(&mut self, identity: u32, address: &str, head: &Head) {
        let headers: Vec<(&str, String)> = head.iter().collect();
        self.entry.update_from_request(identity, address, bytes(&headers));
    }
}

fn bytes<'h>(headers: &'h [(&str, String)]) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn context<'c>(connection: &'c Connection<'_>) -> Option<Context<'c>> {
    connection.filter_state(Context::KEY).and_then(Context::decode)
}

/// The identity of a destination; 0: not known.
fn identity(context: Option<Context<'_>>, destination: Option<SocketAddr>) -> u32 {
    let (Some(context), Some(destination)) = (context, destination) else { return 0 };
    context.identity(&enforced::load(), destination.ip())
}
