//! The module's paths of Envoy's admin interface: what is enforced right now, as JSON.

use std::net::IpAddr;

use cilium_abi::bootstrap::AdminResponse;
use cilium_channel::{Applied, State};
use cilium_parser_host::PREFIX;
use serde_json::{Value, json};

use crate::python;

const POLICIES: &str = "/cilium/policies";
const IDENTITIES: &str = "/cilium/identities";

/// Paths with their help texts.
pub(crate) const PATHS: [(&str, &str); 2] = [
    (POLICIES, "policies that cilium.network and cilium.l7policy enforce (?endpoint=IP for one with its rules)"),
    (IDENTITIES, "number of addresses whose identities are known from NPHDS (?address=IP for the identity of one)"),
];

/// Answers a request; `path` includes the query.
pub(crate) fn respond(state: &State, path: &str) -> AdminResponse {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (status, body) =
        if path == IDENTITIES { identities(state, parameter(query, "address")) } else { policies(state, query) };
    AdminResponse { status, body: format!("{body:#}\n") }
}

fn policies(state: &State, query: &str) -> (u32, Value) {
    let Some(name) = parameter(query, "endpoint") else { return (200, overview(state)) };
    match state.policies.endpoint(&name) {
        Some(policy) => (
            200,
            json!({
                "endpoint": name,
                "endpoint_id": policy.endpoint_id(),
                "resource": policy.resource(),
                "endpoint_ips": policy.ips().collect::<Vec<_>>(),
                "rules": policy.dump(),
            }),
        ),
        None => (404, json!({"error": format!("no policy for endpoint {name}")})),
    }
}

fn identities(state: &State, address: Option<String>) -> (u32, Value) {
    let Some(address) = address else { return (200, json!({"prefixes": state.hosts.len()})) };
    match address.parse::<IpAddr>() {
        Ok(ip) => (200, json!({"address": address, "identity": state.hosts.resolve(ip)})),
        Err(_) => (400, json!({"error": format!("{address:?} is no IP address")})),
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decode)
}

fn overview(state: &State) -> Value {
    let endpoints: Vec<Value> = state
        .policies
        .endpoints()
        .map(|(name, policy)| {
            json!({"endpoint": name, "endpoint_id": policy.endpoint_id(), "resource": policy.resource()})
        })
        .collect();
    json!({
        "policies": applied(state.versions.policies.as_deref()),
        "hosts": applied(state.versions.hosts.as_deref()),
        "secrets": applied(state.versions.secrets.as_deref()),
        "endpoints": endpoints,
        "python_parsers": parsers(),
        "panics": cilium_abi::panics(),
    })
}

/// The parsers that policies name, each with what is wrong with it, or null.
fn parsers() -> Value {
    python::report().into_iter().map(|(name, state)| (format!("{PREFIX}{name}"), json!(state.err()))).collect()
}

fn applied(applied: Option<&Applied>) -> Value {
    applied.map_or(Value::Null, |applied| json!({"version": applied.version, "stream": applied.stream}))
}

/// Percent-decoding, for the colons of IPv6 addresses.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok()))
            .flatten();
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
