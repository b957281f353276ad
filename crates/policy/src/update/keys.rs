//! Resource names and endpoint addresses, which share one name space.

use std::collections::HashMap;
use std::sync::Arc;

use crate::update::EndpointPolicy;

/// What a key stands for.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Resource(Arc<EndpointPolicy>),
    /// An address of the named resource.
    Address(Arc<str>),
}

pub(super) type Keys = HashMap<Arc<str>, Key, foldhash::quality::RandomState>;

/// Changes on top of the current keys, kept apart until the whole update is accepted.
pub(super) struct Staged<'a> {
    /// `None`: everything is new.
    base: Option<&'a Keys>,
    /// `None`: removed.
    changes: HashMap<Arc<str>, Option<Key>, foldhash::quality::RandomState>,
}

/// Accepted changes.
pub(super) struct Changes(HashMap<Arc<str>, Option<Key>, foldhash::quality::RandomState>);

impl<'a> Staged<'a> {
    pub(super) fn on(base: Option<&'a Keys>) -> Self {
        Self { base, changes: HashMap::default() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Key> {
        match self.changes.get(key) {
            Some(change) => change.as_ref(),
            None => self.base.and_then(|base| base.get(key)),
        }
    }

    /// Removes a resource with its addresses, if it is there.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(Key::Resource(policy)) = self.get(name) else { return };
        let policy = Arc::clone(policy);
        for key in policy.ips().chain([name]) {
            self.changes.insert(key.into(), None);
        }
    }

    /// Adds a resource with its addresses; returns the first key that is taken.
    pub(super) fn insert(&mut self, name: &str, policy: &Arc<EndpointPolicy>) -> Result<(), String> {
        let resource: Arc<str> = name.into();
        let addresses = policy.ips().map(|ip| (Arc::from(ip), Key::Address(Arc::clone(&resource))));
        let keys = [(Arc::clone(&resource), Key::Resource(Arc::clone(policy)))].into_iter().chain(addresses);
        for (key, value) in keys {
            if self.get(&key).is_some() {
                return Err(key.to_string());
            }
            self.changes.insert(key, Some(value));
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Changes {
        Changes(self.changes)
    }
}

impl Changes {
    /// Makes the changes, and tells `endpoint` which addresses got or lost a policy.
    pub(super) fn apply(self, keys: &mut Keys, mut endpoint: impl FnMut(Arc<str>, Option<&Arc<EndpointPolicy>>)) {
        for (key, change) in &self.0 {
            match change {
                Some(Key::Address(resource)) => {
                    if let Some(Some(Key::Resource(policy))) = self.0.get(resource) {
                        endpoint(Arc::clone(key), Some(policy));
                    }
                }
                // The name of a resource may have been an address before.
                Some(Key::Resource(_)) | None => endpoint(Arc::clone(key), None),
            }
        }
        for (key, change) in self.0 {
            match change {
                Some(value) => keys.insert(key, value),
                None => keys.remove(&key),
            };
        }
    }
}
