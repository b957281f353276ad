//! A request's headers for the policy engine, which reads them and may change them.

use cilium_abi::http::HeaderMap;
use cilium_policy::Headers;

/// Envoy's header map of the request.
pub(crate) struct RequestHeaders<'s>(HeaderMap<'s>);

impl<'s> RequestHeaders<'s> {
    pub(crate) fn new(map: HeaderMap<'s>) -> Self {
        Self(map)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter()
    }
}

impl Headers for RequestHeaders<'_> {
    fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        self.0.iter().filter(move |(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.0.add(name, value);
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.0.set(name, Some(value));
    }

    fn remove(&mut self, name: &str) {
        self.0.set(name, None);
    }
}
