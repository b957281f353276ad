//! Secrets as they come over the channel.

use cilium_proto::envoy::config::core::v3::data_source::Specifier;
use cilium_proto::envoy::extensions::transport_sockets::tls::v3::{Secret, secret};
use prost::Message;

/// The bytes of a generic secret that came inline. The proxy reads no files on behalf of a resource.
pub(crate) fn secret_bytes(name: &str, resource: &[u8]) -> Result<Vec<u8>, String> {
    let secret = Secret::decode(resource).map_err(|error| format!("secret \"{name}\" does not parse: {error}"))?;
    let Some(secret::Type::GenericSecret(generic)) = secret.r#type else {
        return Err(format!("secret \"{name}\" has no generic_secret; other types do not go over this channel"));
    };
    match generic.secret.and_then(|source| source.specifier) {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes),
        Some(Specifier::InlineString(text)) => Ok(text.into_bytes()),
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) => {
            Err(format!("secret \"{name}\": generic_secret.secret must be inline_bytes or inline_string"))
        }
        None => Err(format!("secret \"{name}\": generic_secret.secret is empty")),
    }
}
