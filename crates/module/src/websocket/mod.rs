//! The network filters `cilium.network.websocket.client` and `.server`: TCP in a websocket, and out of it again.
//!
//! A client wraps what comes from downstream, and a server unwraps it; each does the reverse with what goes back. The TCP
//! proxy behind them must take data before it is connected (`max_early_data_bytes`).

mod filter;
mod output;
mod record;
mod settings;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::network::{Connection, NetworkFilter, NetworkFilterConfig, NetworkFilterFactory};
use cilium_proto::cilium::{WebSocketClient, WebSocketServer};
use cilium_websocket::Config;
use prost::Message as _;

use crate::websocket::filter::Filter;
use crate::websocket::settings::Settings;

/// Where an original-destination cluster connects to, whatever the client's own destination was.
const DESTINATION: &str = "envoy.network.transport_socket.original_dst_address";

pub(crate) struct Factory(Arc<Settings>);

impl Factory {
    pub(crate) fn client(config: &[u8], envoy: &NetworkFilterConfig) -> Result<Self, ConfigError> {
        let message = WebSocketClient::decode(config)?;
        let settings = Settings::new(Config::client(&message)?, &message.access_log_path, envoy)?;
        Ok(Self(Arc::new(settings)))
    }

    pub(crate) fn server(config: &[u8], envoy: &NetworkFilterConfig) -> Result<Self, ConfigError> {
        let message = WebSocketServer::decode(config)?;
        let settings = Settings::new(Config::server(&message)?, &message.access_log_path, envoy)?;
        Ok(Self(Arc::new(settings)))
    }
}

impl NetworkFilterFactory for Factory {
    fn filter(&self) -> Rc<dyn NetworkFilter> {
        Rc::new(Filter::new(Arc::clone(&self.0)))
    }
}

/// Where the peer of a server wanted the stream to go; `None`: nothing was unwrapped.
pub(crate) fn destination(connection: &Connection<'_>) -> Option<SocketAddr> {
    connection.typed_filter_state(DESTINATION)?.parse().ok()
}
