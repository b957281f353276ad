//! Which versions of APIs can be read, and the negotiation that keeps clients to them.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::VersionRange;

use crate::kafka::decode::decode;
use crate::kafka::reply::message;

/// `UNSUPPORTED_VERSION`
const UNSUPPORTED_VERSION: i16 = 35;
/// Bytes of a reply up to its body.
const HEAD: usize = 8;

/// The API, if this version of it can be read.
pub(super) fn known(api_key: i16, version: i16) -> Option<ApiKey> {
    let api_key = ApiKey::try_from(api_key).ok()?;
    let VersionRange { min, max } = api_key.valid_versions();
    (min..=max).contains(&version).then_some(api_key)
}

/// The reply to a request for versions of a version that cannot be read: in version 0, which every client reads, so that it asks
/// again (KIP-511). `None` for other APIs.
pub(super) fn unsupported(api_key: i16, correlation_id: i32) -> Option<Vec<u8>> {
    let api_key = ApiKey::try_from(api_key).ok().filter(|api_key| *api_key == ApiKey::ApiVersions)?;
    let VersionRange { min, max } = api_key.valid_versions();
    let known = ApiVersion::default().with_api_key(api_key as i16).with_min_version(min).with_max_version(max);
    let body = ApiVersionsResponse::default().with_error_code(UNSUPPORTED_VERSION).with_api_keys(vec![known]);
    message(&body, api_key, 0, correlation_id)
}

/// A server's reply to a request for versions, without those that cannot be read. `None` if it is malformed.
pub(super) fn clip(frame: &[u8], version: i16) -> Option<Vec<u8>> {
    let correlation_id = i32::from_be_bytes(*frame.get(4..)?.first_chunk()?);
    let body = frame.get(HEAD..)?;
    // A server that does not know the version answers in version 0.
    let version = if body.starts_with(&UNSUPPORTED_VERSION.to_be_bytes()) { 0 } else { version };
    let mut response = decode::<ApiVersionsResponse>(body, version)?;
    response.api_keys.retain_mut(|offered| {
        let Ok(api_key) = ApiKey::try_from(offered.api_key) else { return false };
        let VersionRange { min, max } = api_key.valid_versions();
        offered.max_version = offered.max_version.min(max);
        // Servers offer some old versions in name only, to clients that insist on them.
        offered.min_version <= offered.max_version && min <= offered.max_version
    });
    message(&response, ApiKey::ApiVersions, version, correlation_id)
}

#[cfg(test)]
mod tests;
