//! What is in force, and how a transaction changes it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cilium_policy::hosts::HostUpdate;
use cilium_policy::{PolicyMap, Update, UpdateKind};
use cilium_proto::cilium_proxy::v1::begin::Kind;

use crate::observer::Outcome;
use crate::resource::ResourceType;
use crate::retire::Retired;
use crate::secret::secret_bytes;
use crate::state::{Applied, SharedState, State};
use crate::transaction::Transaction;

/// The state with all that is needed to change it. Lives on the client's thread, across connections.
pub(crate) struct Enforced {
    policies: PolicyMap,
    secrets: BTreeMap<String, Vec<u8>>,
    current: State,
    shared: SharedState,
    retired: Retired,
}

impl std::fmt::Debug for Enforced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets stay secret.
        f.debug_struct("Enforced").field("versions", &self.current.versions).finish_non_exhaustive()
    }
}

impl Enforced {
    pub(crate) fn new() -> Self {
        let policies = PolicyMap::new();
        let current = State::empty(policies.snapshot());
        let shared = SharedState::new(current.clone());
        Self { policies, secrets: BTreeMap::new(), current, shared, retired: Retired::default() }
    }

    pub(crate) fn shared(&self) -> &SharedState {
        &self.shared
    }

    /// Last accepted transaction of each type that had one.
    pub(crate) fn applied(&self) -> impl Iterator<Item = (ResourceType, &Applied)> {
        ResourceType::ALL.into_iter().filter_map(|resource_type| Some((resource_type, self.held(resource_type)?)))
    }

    pub(crate) fn is_applied(&self, type_url: &str) -> bool {
        self.applied().any(|(resource_type, _)| resource_type.url() == type_url)
    }

    /// Frees replaced snapshots that no worker uses any more; true while there are others.
    pub(crate) fn sweep(&mut self) -> bool {
        self.retired.sweep();
        !self.retired.is_empty()
    }

    /// Applies a transaction whole, or not at all.
    pub(crate) fn apply(&mut self, resource_type: ResourceType, epoch: u64, transaction: &Transaction) -> Outcome {
        let held = self.held(resource_type);
        if transaction.kind == Kind::Delta {
            // Versions of another run of the control plane mean nothing in this one.
            let base = held.filter(|held| held.epoch == epoch).map_or("", |held| held.version.as_str());
            if base != transaction.base {
                return Outcome::BaseMismatch(base.to_owned());
            }
        }
        let unchanged = held.is_some_and(|held| {
            let replayed = held.full && held.digest == transaction.digest && held.version == transaction.target;
            replayed && transaction.kind == Kind::Full && !transaction.new_stream
        });
        let stream = held.map_or(0, |held| held.stream) + u64::from(transaction.new_stream);
        if !unchanged {
            // A defect of the engine must not end the channel, or the proxy would enforce an old state for ever.
            let changed = catch_unwind(AssertUnwindSafe(|| self.change(resource_type, transaction)));
            match changed {
                Ok(Ok(())) => {}
                Ok(Err(detail)) => return Outcome::Rejected(detail),
                Err(_) => {
                    self.restart(resource_type);
                    return Outcome::Rejected("the policy engine failed on it; the state before stays".to_owned());
                }
            }
        }
        *self.versions(resource_type) = Some(Arc::new(Applied {
            epoch,
            version: transaction.target.clone(),
            digest: transaction.digest,
            full: transaction.kind == Kind::Full,
            stream,
        }));
        self.publish();
        Outcome::Accepted
    }

    fn change(&mut self, resource_type: ResourceType, transaction: &Transaction) -> Result<(), String> {
        let upserts: Vec<(&str, &[u8])> =
            transaction.upserts.iter().map(|upsert| (upsert.name.as_str(), upsert.resource.as_slice())).collect();
        let removed: Vec<&str> = transaction.removed.iter().map(String::as_str).collect();
        let kind = match transaction.kind {
            Kind::Full => UpdateKind::Full,
            Kind::Delta => UpdateKind::Delta,
        };
        let (version, new_stream) = (transaction.target.as_str(), transaction.new_stream);
        match resource_type {
            ResourceType::Policies => {
                let update = Update { version, kind, new_stream, upserts: &upserts, removed: &removed };
                self.current.policies = self.policies.update(&update).map_err(|rejected| rejected.to_string())?;
            }
            ResourceType::Hosts => {
                let update = HostUpdate { version, kind, new_stream, upserts: &upserts, removed: &removed };
                let hosts = self.current.hosts.update(&update).map_err(|rejected| rejected.to_string())?;
                self.current.hosts = Arc::new(hosts);
            }
            ResourceType::Secrets => self.change_secrets(kind, &upserts, &removed)?,
            ResourceType::TlsContexts => {
                let full = kind == UpdateKind::Full;
                self.current.tls = Arc::new(self.current.tls.update(full, &upserts, &removed)?);
            }
        }
        Ok(())
    }

    fn change_secrets(&mut self, kind: UpdateKind, upserts: &[(&str, &[u8])], removed: &[&str]) -> Result<(), String> {
        let mut delivered = BTreeMap::new();
        for (name, resource) in upserts {
            delivered.insert((*name).to_owned(), secret_bytes(name, resource)?);
        }
        let withdrawn: Vec<String> = match kind {
            UpdateKind::Full => self.secrets.keys().filter(|name| !delivered.contains_key(*name)).cloned().collect(),
            UpdateKind::Delta => removed.iter().map(|name| (*name).to_owned()).collect(),
        };
        for name in withdrawn {
            self.policies.set_secret(&name, None);
            self.secrets.remove(&name);
        }
        for (name, value) in delivered {
            if self.secrets.get(&name) != Some(&value) {
                self.policies.set_secret(&name, Some(&value));
                self.secrets.insert(name, value);
            }
        }
        Ok(())
    }

    /// After the engine failed midway: what it holds is not to be built upon. The next DELTA finds no base, so the
    /// control plane sends everything again.
    fn restart(&mut self, resource_type: ResourceType) {
        *self.versions(resource_type) = None;
        if matches!(resource_type, ResourceType::Policies | ResourceType::Secrets) {
            self.policies = PolicyMap::new();
            for (name, value) in &self.secrets {
                self.policies.set_secret(name, Some(value));
            }
            self.current.versions.policies = None;
        }
    }

    fn publish(&mut self) {
        let before = self.shared.publish(self.current.clone());
        self.retired.add(before);
        self.retired.sweep();
    }

    fn held(&self, resource_type: ResourceType) -> Option<&Applied> {
        let versions = &self.current.versions;
        match resource_type {
            ResourceType::Policies => versions.policies.as_deref(),
            ResourceType::Hosts => versions.hosts.as_deref(),
            ResourceType::Secrets => versions.secrets.as_deref(),
            ResourceType::TlsContexts => versions.tls.as_deref(),
        }
    }

    fn versions(&mut self, resource_type: ResourceType) -> &mut Option<Arc<Applied>> {
        let versions = &mut self.current.versions;
        match resource_type {
            ResourceType::Policies => &mut versions.policies,
            ResourceType::Hosts => &mut versions.hosts,
            ResourceType::Secrets => &mut versions.secrets,
            ResourceType::TlsContexts => &mut versions.tls,
        }
    }
}

#[cfg(test)]
mod tests;
