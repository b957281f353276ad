//! The names of TLS contexts, by which filter chains and transport sockets are chosen.

use std::fmt::Write as _;

use cilium_policy::TlsContext;
use cilium_proto::cilium::TlsContext as Message;
use prost::Message as _;
use sha2::{Digest, Sha256};

/// Bytes of the digest in a name.
const LENGTH: usize = 16;

/// The name of a context: the start of the SHA-256 of its message, in hexadecimal digits.
pub(crate) fn name(context: &TlsContext) -> String {
    let message = Message {
        trusted_ca: context.trusted_ca.clone(),
        certificate_chain: context.certificate_chain.clone(),
        private_key: context.private_key.clone(),
        server_names: context.server_names.clone(),
        validation_context_sds_secret: context.validation_context_sds_secret.clone(),
        tls_sds_secret: context.tls_sds_secret.clone(),
        alpn_protocols: context.alpn_protocols.clone(),
    };
    let digest = Sha256::digest(message.encode_to_vec());
    digest.iter().take(LENGTH).fold(String::with_capacity(2 * LENGTH), |mut name, byte| {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_name_is_the_digest_of_the_message() {
        let context = cilium_policy::TlsContext {
            trusted_ca: "ca".to_owned(),
            certificate_chain: String::new(),
            private_key: String::new(),
            server_names: vec!["a".to_owned(), "b".to_owned()],
            validation_context_sds_secret: String::new(),
            tls_sds_secret: String::new(),
            alpn_protocols: vec!["h2".to_owned()],
        };
        // printf '\x0a\x02ca\x22\x01a\x22\x01b\x3a\x02h2' | sha256sum
        assert_eq!(name(&context), "839a31c2837647fd57b0377b4742d160");
    }
}
