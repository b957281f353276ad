//! The owner of the named resources.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::compile::PortTable;
use crate::decode::At;
use crate::secret::Secrets;
use crate::update::endpoint::{Fallback, Parts};
use crate::update::intern::{Decoder, Interned};
use crate::update::snapshot::Endpoints;
use crate::update::wire::Outer;
use crate::update::{EndpointPolicy, Rejected, Snapshot, Update, UpdateKind};

/// Owner of the named resources; lives on the control thread.
#[derive(Debug)]
pub struct PolicyMap {
    /// Resource names and endpoint addresses share one name space.
    keys: HashMap<Arc<str>, Key>,
    interned: Interned,
    secrets: Secrets,
    snapshot: Arc<Snapshot>,
    deny_all: Arc<EndpointPolicy>,
    allow_egress: Arc<EndpointPolicy>,
}

#[derive(Debug, Clone)]
enum Key {
    Resource(Arc<EndpointPolicy>),
    /// An address of the named resource.
    Address(Arc<str>),
}

impl Default for PolicyMap {
    fn default() -> Self {
        Self::new()
    }
}

impl PolicyMap {
    /// No policies, no secrets.
    #[must_use]
    pub fn new() -> Self {
        let deny_all = Arc::new(EndpointPolicy::of_fallback(Fallback::DenyAll));
        let allow_egress = Arc::new(EndpointPolicy::of_fallback(Fallback::AllowEgress));
        let snapshot =
            Arc::new(Snapshot::new("", Endpoints::default(), Arc::clone(&deny_all), Arc::clone(&allow_egress)));
        Self {
            keys: HashMap::new(),
            interned: Interned::default(),
            secrets: Secrets::default(),
            snapshot,
            deny_all,
            allow_egress,
        }
    }

    /// Applies an update whole, or refuses it and leaves everything as it was.
    pub fn update(&mut self, update: &Update<'_>) -> Result<Arc<Snapshot>, Rejected> {
        let fresh = update.new_stream;
        let mut interned = if fresh { Interned::default() } else { std::mem::take(&mut self.interned) };
        let decoder = Decoder { interned: &mut interned, secrets: &mut self.secrets };
        let staged = stage(&self.keys, decoder, update);
        if !fresh || staged.is_ok() {
            self.interned = interned;
        }
        self.keys = staged?;
        let mut endpoints = Endpoints::default();
        for (name, key) in &self.keys {
            if let Key::Address(resource) = key
                && let Some(Key::Resource(policy)) = self.keys.get(resource)
            {
                endpoints.insert(Arc::clone(name), Arc::clone(policy));
            }
        }
        let (deny_all, allow_egress) = (Arc::clone(&self.deny_all), Arc::clone(&self.allow_egress));
        self.snapshot = Arc::new(Snapshot::new(update.version, endpoints, deny_all, allow_egress));
        self.secrets.forget_unused();
        Ok(self.snapshot())
    }

    /// What the last accepted update made.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Delivers or withdraws the bytes of an SDS secret; counts at once in all snapshots.
    pub fn set_secret(&mut self, name: &str, value: Option<&[u8]>) {
        self.secrets.set(name, value);
    }

    /// Names of the secrets that header rules of the current policies compare with, sorted.
    #[must_use]
    pub fn secret_names(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for (_, policy) in self.snapshot.endpoints() {
            for entry in policy.ingress_entries.iter().chain(&policy.egress_entries) {
                for action in entry.rules.iter().flat_map(|rule| rule.http.iter()).flat_map(|http| &http.actions) {
                    names.extend(action.secret.as_ref().map(|cell| cell.name().to_owned()));
                }
            }
        }
        names.into_iter().collect()
    }
}

type Keys = HashMap<Arc<str>, Key>;

fn stage(current: &Keys, mut decoder: Decoder<'_>, update: &Update<'_>) -> Result<Keys, Rejected> {
    let delta = update.kind == UpdateKind::Delta;
    let mut keys = if delta && !update.new_stream { current.clone() } else { Keys::new() };
    if delta {
        for name in update.removed {
            match keys.get(*name) {
                None => {}
                Some(Key::Resource(_)) => remove(&mut keys, name),
                Some(Key::Address(_)) => {
                    return Err(Rejected::resource_problem(
                        name,
                        format!(
                            "NetworkPolicyResource removed resource '{name}' is a policy endpoint IP alias, not a resource name"
                        ),
                    ));
                }
            }
        }
    }
    for (name, bytes) in update.upserts {
        check_name(name, if delta { "NetworkPolicy added resource name" } else { "NetworkPolicy resource name" })?;
        if delta {
            remove(&mut keys, name);
        }
        let old = current.get(*name).filter(|_| !update.new_stream);
        let policy = build(name, bytes, &mut decoder, old)?;
        insert(&mut keys, name, &policy, update)?;
    }
    Ok(keys)
}

fn check_name(name: &str, subject: &str) -> Result<(), Rejected> {
    if name.is_empty() {
        return Err(Rejected::resource_problem(name, format!("{subject} must not be empty")));
    }
    if name.bytes().any(|b| b.is_ascii_whitespace() || b == 0x0b) {
        return Err(Rejected::resource_problem(name, format!("{subject} '{name}' must not contain whitespace")));
    }
    Ok(())
}

fn remove(keys: &mut Keys, name: &str) {
    if let Some(Key::Resource(policy)) = keys.get(name) {
        let policy = Arc::clone(policy);
        for ip in policy.ips() {
            keys.remove(ip);
        }
        keys.remove(name);
    }
}

fn insert(keys: &mut Keys, name: &str, policy: &Arc<EndpointPolicy>, update: &Update<'_>) -> Result<(), Rejected> {
    let resource: Arc<str> = name.into();
    let mut new_keys = vec![(Arc::clone(&resource), Key::Resource(Arc::clone(policy)))];
    new_keys.extend(policy.ips().map(|ip| (ip.into(), Key::Address(Arc::clone(&resource)))));
    for (key, value) in new_keys {
        if let Some(existing) = keys.get(&key) {
            let stream = if update.new_stream { "a new" } else { "an old" };
            let problem = format!(
                "NetworkPolicyResource update for version {} has duplicate resource key '{key}' on {stream} stream: it \
                 is already {}",
                update.version,
                describe(existing)
            );
            return Err(Rejected::field_problem(
                name,
                Some(endpoint(policy.endpoint_id(), policy.ips())),
                crate::decode::FieldError { path: String::new(), problem },
            ));
        }
        keys.insert(key, value);
    }
    Ok(())
}

fn describe(key: &Key) -> String {
    match key {
        Key::Resource(policy) => format!("a resource ({})", endpoint(policy.endpoint_id(), policy.ips())),
        Key::Address(resource) => format!("an endpoint IP of resource '{resource}'"),
    }
}

fn endpoint<'a>(id: u64, ips: impl Iterator<Item = &'a str>) -> String {
    format!("endpoint_id {id}, endpoint_ips [{}]", ips.collect::<Vec<_>>().join(", "))
}

/// Most addresses an endpoint may have, as the API says.
const MAX_IPS: usize = 2;

fn build(
    name: &str,
    bytes: &[u8],
    decoder: &mut Decoder<'_>,
    old: Option<&Key>,
) -> Result<Arc<EndpointPolicy>, Rejected> {
    let outer = Outer::decode(bytes)
        .map_err(|error| Rejected::resource_problem(name, format!("not a NetworkPolicy message: {error}")))?;
    let whose = endpoint(outer.endpoint_id, outer.endpoint_ips.iter().map(String::as_str));
    let reject = |field: &str, problem: &str| {
        Rejected::field_problem(name, Some(whose.clone()), crate::decode::FieldError::new(field, problem))
    };
    if outer.endpoint_ips.is_empty() {
        return Err(reject("endpoint_ips", "NetworkPolicyResource has no endpoint ips"));
    }
    if outer.endpoint_ips.len() > MAX_IPS {
        return Err(reject("endpoint_ips", "has more than 2 items"));
    }
    if outer.endpoint_ips.iter().any(String::is_empty) {
        return Err(reject("endpoint_ips", "an item is empty"));
    }
    if outer.endpoint_id == 0 {
        return Err(reject("endpoint_id", "NetworkPolicyResource endpoint_id must be non-zero"));
    }
    let mut direction = |list, field: &str| {
        let entries = decoder.entries(list).or_else(|(index, error)| Err(error).at_index(field, index))?;
        let table = Arc::new(PortTable::new(&entries).at(field)?);
        Ok((entries, table))
    };
    let both = direction(outer.ingress, "ingress_per_port_policies")
        .and_then(|ingress| Ok((ingress, direction(outer.egress, "egress_per_port_policies")?)));
    let ((ingress_entries, ingress), (egress_entries, egress)) =
        both.map_err(|error| Rejected::field_problem(name, Some(whose.clone()), error))?;
    if let Some(Key::Resource(old)) = old
        && old.endpoint_id() == outer.endpoint_id
        && old.ips().eq(outer.endpoint_ips.iter().map(String::as_str))
        && same(&old.ingress_entries, &ingress_entries)
        && same(&old.egress_entries, &egress_entries)
    {
        return Ok(Arc::clone(old));
    }
    let ips = outer.endpoint_ips.into_iter().map(Into::into).collect();
    let endpoint_id = outer.endpoint_id;
    let parts = Parts { endpoint_id, ips, ingress_entries, egress_entries, ingress, egress };
    Ok(Arc::new(EndpointPolicy::new(name, parts)))
}

fn same<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}
