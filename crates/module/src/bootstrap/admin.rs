//! `/cilium/policies` of Envoy's admin interface: what is enforced right now, as JSON.

use cilium_abi::bootstrap::AdminResponse;
use cilium_channel::{Applied, State};
use serde_json::{Value, json};

/// Answers a request; `path` includes the query.
pub(crate) fn respond(state: &State, path: &str) -> AdminResponse {
    let endpoint = path
        .split_once('?')
        .and_then(|(_, query)| query.split('&').find_map(|pair| pair.strip_prefix("endpoint=")))
        .map(decode);
    let (status, body) = match endpoint {
        None => (200, overview(state)),
        Some(name) => match state.policies.endpoint(&name) {
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
        },
    };
    AdminResponse { status, body: format!("{body:#}\n") }
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
        "panics": cilium_abi::panics(),
    })
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
