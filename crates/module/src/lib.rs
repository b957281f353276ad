//! The Cilium filters as an Envoy dynamic module.
//!
//! One file per extension: `bootstrap` (policy channel, admin path, statistics), `bpf_metadata` (who talks to whom),
//! `network` (may they), `l7policy` (may this request), `websocket` (TCP in a websocket, and out of it). What they
//! share: `metadata` (the decisions of `bpf_metadata`, without Envoy), `identities` (where they come from), `target` and
//! `balanced` (what policy is asked about), `known` (what is kept of a connection for its requests), `tls_choice`
//! and `tls_hold` (how connections are carried, and what they wait for), `enforced` (the state they read), `log`
//! (entries), `log_loss` (those that nobody takes), `python` (the host of parsers written in Python), `timer`.

#![deny(unsafe_code)]

mod balanced;
mod bootstrap;
mod bpf_metadata;
mod enforced;
mod identities;
mod known;
mod l7policy;
mod log;
mod log_loss;
mod metadata;
mod network;
mod python;
mod target;
mod timer;
mod tls_choice;
mod tls_hold;
mod websocket;

use std::ffi::c_char;

use cilium_abi::access_logger::AccessLogger;
use cilium_abi::bootstrap::{BootstrapConfig, BootstrapExtension};
use cilium_abi::http::{HttpFilterConfig, HttpFilterFactory};
use cilium_abi::listener::{ListenerFilterConfig, ListenerFilterFactory};
use cilium_abi::network::{NetworkFilterConfig, NetworkFilterFactory};
use cilium_abi::{ConfigError, Module};

struct Cilium;

impl Module for Cilium {
    fn listener_filter(
        &self,
        name: &str,
        config: &[u8],
        envoy: &ListenerFilterConfig,
    ) -> Result<Box<dyn ListenerFilterFactory>, ConfigError> {
        match name {
            "cilium.bpf_metadata" => Ok(Box::new(bpf_metadata::Factory::new(config, envoy)?)),
            _ => Err(unknown("listener filter", name)),
        }
    }

    fn network_filter(
        &self,
        name: &str,
        config: &[u8],
        envoy: &NetworkFilterConfig,
    ) -> Result<Box<dyn NetworkFilterFactory>, ConfigError> {
        match name {
            "cilium.network" => Ok(Box::new(network::Factory::new(config, envoy)?)),
            "cilium.network.websocket.client" => Ok(Box::new(websocket::Factory::client(config, envoy)?)),
            "cilium.network.websocket.server" => Ok(Box::new(websocket::Factory::server(config, envoy)?)),
            _ => Err(unknown("network filter", name)),
        }
    }

    fn http_filter(
        &self,
        name: &str,
        config: &[u8],
        envoy: &HttpFilterConfig,
    ) -> Result<Box<dyn HttpFilterFactory>, ConfigError> {
        match name {
            "cilium.l7policy" => Ok(Box::new(l7policy::Factory::new(config, envoy)?)),
            _ => Err(unknown("HTTP filter", name)),
        }
    }

    fn access_logger(&self, name: &str, _config: &[u8]) -> Result<Box<dyn AccessLogger>, ConfigError> {
        match name {
            "cilium.connected" => Ok(Box::new(network::connected::Logger)),
            _ => Err(unknown("access logger", name)),
        }
    }

    fn bootstrap_extension(
        &self,
        name: &str,
        config: &[u8],
        envoy: BootstrapConfig,
    ) -> Result<Box<dyn BootstrapExtension>, ConfigError> {
        match name {
            "cilium.bootstrap" => Ok(Box::new(bootstrap::Extension::new(config, &envoy)?)),
            _ => Err(unknown("bootstrap extension", name)),
        }
    }
}

fn unknown(kind: &str, name: &str) -> ConfigError {
    ConfigError(format!("this module has no {kind} of that name: {name}"))
}

/// Called by Envoy when it loads the library.
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "the one symbol that a library must export itself")]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    cilium_abi::load(&Cilium)
}
