//! TLS contexts that rules choose.

use cilium_proto::cilium as pb;

/// A TLS context of a rule. Equal contexts of one side and stream are one object.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TlsContext {
    /// PEM certificates of the CAs that peers must chain to.
    pub trusted_ca: String,
    /// PEM.
    pub certificate_chain: String,
    /// PEM.
    pub private_key: String,
    /// Server side: the names the context serves. Client side: at most one, the SNI to send.
    pub server_names: Vec<String>,
    /// SDS secret that replaces `trusted_ca`.
    pub validation_context_sds_secret: String,
    /// SDS secret that replaces `certificate_chain` and `private_key`.
    pub tls_sds_secret: String,
    /// For example `h2`.
    pub alpn_protocols: Vec<String>,
}

impl From<pb::TlsContext> for TlsContext {
    fn from(message: pb::TlsContext) -> Self {
        Self {
            trusted_ca: message.trusted_ca,
            certificate_chain: message.certificate_chain,
            private_key: message.private_key,
            server_names: message.server_names,
            validation_context_sds_secret: message.validation_context_sds_secret,
            tls_sds_secret: message.tls_sds_secret,
            alpn_protocols: message.alpn_protocols,
        }
    }
}

impl std::fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsContext")
            .field("trusted_ca", &self.trusted_ca)
            .field("certificate_chain", &self.certificate_chain)
            .field("private_key", &if self.private_key.is_empty() { "" } else { "[redacted]" })
            .field("server_names", &self.server_names)
            .field("validation_context_sds_secret", &self.validation_context_sds_secret)
            .field("tls_sds_secret", &self.tls_sds_secret)
            .field("alpn_protocols", &self.alpn_protocols)
            .finish()
    }
}
