//! All policies at one moment.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::update::EndpointPolicy;

pub(super) type Endpoints = HashMap<Arc<str>, Arc<EndpointPolicy>, foldhash::fast::RandomState>;

/// Immutable, shared by all workers.
#[derive(Debug)]
pub struct Snapshot {
    version: Box<str>,
    endpoints: Endpoints,
    deny_all: Arc<EndpointPolicy>,
    allow_egress: Arc<EndpointPolicy>,
}

impl Snapshot {
    pub(super) fn new(
        version: &str,
        endpoints: Endpoints,
        deny_all: Arc<EndpointPolicy>,
        allow_egress: Arc<EndpointPolicy>,
    ) -> Self {
        Self { version: version.into(), endpoints, deny_all, allow_egress }
    }

    /// The version of the update that made it; empty before the first.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The policy of an endpoint; `name` is one of its addresses, as written in the resource.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<&Arc<EndpointPolicy>> {
        self.endpoints.get(name)
    }

    /// The policy of an endpoint or, if there is none, one that denies everything; with `allow_egress`, one that
    /// denies ingress and allows egress.
    #[must_use]
    pub fn policy(&self, name: &str, allow_egress: bool) -> &Arc<EndpointPolicy> {
        match self.endpoint(name) {
            Some(policy) => policy,
            None if allow_egress => &self.allow_egress,
            None => &self.deny_all,
        }
    }

    /// All addresses with their policies, in no order.
    pub fn endpoints(&self) -> impl Iterator<Item = (&str, &Arc<EndpointPolicy>)> {
        self.endpoints.iter().map(|(name, policy)| (&**name, policy))
    }
}
