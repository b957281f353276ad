//! All policies at one moment.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::update::EndpointPolicy;

/// Changing one endpoint copies one shard.
const SHARDS: usize = 256;

type Shard = HashMap<Arc<str>, Arc<EndpointPolicy>, foldhash::fast::FixedState>;

/// Policies by endpoint address. Copies share what did not change.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    shards: Arc<[Arc<Shard>]>,
    hasher: foldhash::fast::RandomState,
}

impl Default for Endpoints {
    fn default() -> Self {
        let empty = Arc::new(Shard::default());
        Self { shards: vec![empty; SHARDS].into(), hasher: foldhash::fast::RandomState::default() }
    }
}

impl Endpoints {
    fn shard(&self, name: &str) -> usize {
        // The table inside a shard hashes on its own; any bits will do here.
        usize::from(self.hasher.hash_one(name).to_le_bytes()[0])
    }

    fn get(&self, name: &str) -> Option<&Arc<EndpointPolicy>> {
        self.shards[self.shard(name)].get(name)
    }

    pub(super) fn insert(&mut self, name: Arc<str>, policy: Arc<EndpointPolicy>) {
        let shard = self.shard(&name);
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard]).insert(name, policy);
    }

    pub(super) fn remove(&mut self, name: &str) {
        let shard = self.shard(name);
        if self.shards[shard].contains_key(name) {
            Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard]).remove(name);
        }
    }
}

/// Immutable, shared by all workers.
///
/// To drop the last reference to a large snapshot takes milliseconds. Its owner should keep a reference to each
/// snapshot it replaces until no worker holds one (`Arc::strong_count` is 1), and drop it on its own thread.
#[derive(Debug)]
pub struct Snapshot {
    version: Box<str>,
    pub(super) endpoints: Endpoints,
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
        self.endpoints.shards.iter().flat_map(|shard| shard.iter()).map(|(name, policy)| (&**name, policy))
    }
}
