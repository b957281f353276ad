//! TLS contexts that rules choose.

use std::fmt::Write as _;

use cilium_proto::cilium as pb;
use prost::Message as _;
use sha2::{Digest, Sha256};

/// Bytes of the digest in a name.
const NAME_LENGTH: usize = 16;

/// A TLS context of a rule. Equal contexts of one side and stream are one object.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TlsContext {
    name: String,
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

impl TlsContext {
    /// The name by which Envoy's configuration knows the context: the start of the SHA-256 of its message, without
    /// fields that are not known here, in hexadecimal digits.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn name(message: &pb::TlsContext) -> String {
    let digest = Sha256::digest(message.encode_to_vec());
    digest.iter().take(NAME_LENGTH).fold(String::with_capacity(2 * NAME_LENGTH), |mut name, byte| {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

impl From<pb::TlsContext> for TlsContext {
    fn from(message: pb::TlsContext) -> Self {
        Self {
            name: name(&message),
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
            .field("name", &self.name)
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

#[cfg(test)]
mod tests {
    use super::{TlsContext, pb};

    #[test]
    fn a_name_is_the_digest_of_the_message() {
        let context = TlsContext::from(pb::TlsContext {
            trusted_ca: "ca".to_owned(),
            server_names: vec!["a".to_owned(), "b".to_owned()],
            alpn_protocols: vec!["h2".to_owned()],
            ..Default::default()
        });
        // printf '\x0a\x02ca\x22\x01a\x22\x01b\x3a\x02h2' | sha256sum
        assert_eq!(context.name(), "839a31c2837647fd57b0377b4742d160");
    }
}
