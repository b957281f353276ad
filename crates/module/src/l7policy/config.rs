//! `cilium.L7Policy`, validated.

use std::sync::Arc;

use cilium_abi::ConfigError;
use cilium_abi::http::{Counter, HttpFilterConfig};
use cilium_accesslog::Queue;
use cilium_proto::cilium::L7Policy;
use prost::Message;

use crate::log;

const DEFAULT_BODY: &str = "Access denied";

/// Configuration of one filter.
pub(crate) struct Config {
    pub(crate) log: Option<Arc<Queue>>,
    /// Body of 403 replies; ends with CR LF.
    pub(crate) denied_body: String,
    /// Response header for the reason; `None`: the client is not told.
    pub(crate) reason_header: Option<String>,
    pub(crate) access_denied: Counter,
    /// Upstream, what no `cilium.bpf_metadata` has seen passes, and what no policy is about.
    pub(crate) judge_known_only: bool,
    pub(crate) tls_missing: Counter,
    /// The upstream's socket is chosen by the verdict on each request.
    pub(crate) upstream_tls: bool,
}

impl Config {
    pub(crate) fn new(config: &[u8], envoy: &HttpFilterConfig) -> Result<Self, ConfigError> {
        let message = L7Policy::decode(config)?;
        let reason_header = message.denied_reason_header.to_ascii_lowercase();
        if !reason_header.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(ConfigError(format!(
                "cilium.l7policy: denied_reason_header is no header name: {reason_header}"
            )));
        }
        Ok(Self {
            log: log::open(&message.access_log_path)?,
            denied_body: denied_body(message.denied_403_body),
            reason_header: (!reason_header.is_empty()).then_some(reason_header),
            access_denied: envoy.define_counter("access_denied")?,
            judge_known_only: message.judge_known_only,
            tls_missing: envoy.define_counter("policy.tls_context_missing")?,
            upstream_tls: message.upstream_tls,
        })
    }
}

fn denied_body(configured: String) -> String {
    let mut body = if configured.is_empty() { DEFAULT_BODY.to_owned() } else { configured };
    if !body.ends_with("\r\n") {
        body.push_str("\r\n");
    }
    body
}

#[cfg(test)]
mod tests {
    use super::denied_body;

    #[test]
    fn denied_body_defaults_and_ends_with_a_line_end_once() {
        assert_eq!(denied_body(String::new()), "Access denied\r\n");
        assert_eq!(denied_body("no".to_owned()), "no\r\n");
        assert_eq!(denied_body("no\r\n".to_owned()), "no\r\n");
    }
}
