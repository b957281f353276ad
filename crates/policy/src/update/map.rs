//! The owner of the named resources.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Direction;
use crate::decode::FieldError;
use crate::secret::Secrets;
use crate::update::endpoint::{Fallback, Parts};
use crate::update::intern::{Decoder, Interned};
use crate::update::keys::{Changes, Key, Keys, Staged};
use crate::update::limits::MAX_RESOURCE;
use crate::update::snapshot::Endpoints;
use crate::update::wire::RawPolicy;
use crate::update::{EndpointPolicy, Rejected, Snapshot, Update, UpdateKind};

/// Most addresses an endpoint may have, as the API says.
const MAX_IPS: usize = 2;

/// Owner of the named resources; lives on the control thread.
#[derive(Debug)]
pub struct PolicyMap {
    keys: Keys,
    interned: Interned,
    secrets: Secrets,
    snapshot: Arc<Snapshot>,
    deny_all: Arc<EndpointPolicy>,
    allow_egress: Arc<EndpointPolicy>,
    /// No update of the stream has been accepted yet.
    new_stream: bool,
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
            keys: Keys::default(),
            interned: Interned::default(),
            secrets: Secrets::default(),
            snapshot,
            deny_all,
            allow_egress,
            new_stream: false,
        }
    }

    /// Applies an update whole, or refuses it and leaves everything as it was.
    ///
    /// A resource that did not change keeps its [`EndpointPolicy`], and equal parts of different endpoints are one
    /// object, unless the update is the first of a new stream that is accepted.
    pub fn update(&mut self, update: &Update<'_>) -> Result<Arc<Snapshot>, Rejected> {
        self.new_stream |= update.new_stream;
        let update = &Update { new_stream: self.new_stream, ..*update };
        let mut fresh = Interned::default();
        let interned = if update.new_stream { &mut fresh } else { &mut self.interned };
        let staged = stage(&self.keys, Decoder { interned, secrets: &mut self.secrets }, update);
        let changes = match staged {
            Ok(changes) => changes,
            Err(rejected) => {
                self.secrets.forget_unused();
                return Err(rejected);
            }
        };
        if update.new_stream {
            self.interned = fresh;
        }
        self.new_stream = false;
        let keeps = update.kind == UpdateKind::Delta && !update.new_stream;
        let mut endpoints = if keeps { self.snapshot.endpoints.clone() } else { Endpoints::default() };
        if !keeps {
            self.keys.clear();
        }
        changes.apply(&mut self.keys, |name, policy| match policy {
            Some(policy) => endpoints.insert(name, Arc::clone(policy)),
            None => endpoints.remove(&name),
        });
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

    /// Names of the secrets that header rules of the current policies compare with, sorted. The secrets of TLS contexts
    /// are not among them: see [`TlsContext`](crate::TlsContext).
    #[must_use]
    pub fn secret_names(&self) -> Vec<String> {
        let policies = self.snapshot.endpoints().map(|(_, policy)| policy);
        let tables = policies.flat_map(|policy| [Direction::Ingress, Direction::Egress].map(|d| policy.table(d)));
        let rules = tables.flat_map(|table| &table.entries).flat_map(|entry| &entry.rules);
        let actions = rules.filter(|rule| rule.has_header_actions).flat_map(|rule| rule.http.iter());
        let names: BTreeSet<&str> =
            actions.flat_map(|http| &http.actions).filter_map(|action| Some(action.secret.as_ref()?.name())).collect();
        names.into_iter().map(ToOwned::to_owned).collect()
    }
}

/// Checks an update against the current keys, without changing them.
fn stage(current: &Keys, mut decoder: Decoder<'_>, update: &Update<'_>) -> Result<Changes, Rejected> {
    let delta = update.kind == UpdateKind::Delta;
    let current = Some(current).filter(|_| !update.new_stream);
    let mut staged = Staged::on(current.filter(|_| delta));
    let removed = if delta { update.removed } else { &[] };
    for name in removed {
        if let Some(Key::Address(_)) = staged.get(name) {
            let problem = format!(
                "NetworkPolicyResource removed resource '{name}' is a policy endpoint IP alias, not a resource name"
            );
            return Err(Rejected::resource_problem(name, problem));
        }
        staged.remove(name);
    }
    for (name, bytes) in update.upserts {
        check_name(name, if delta { "NetworkPolicy added resource name" } else { "NetworkPolicy resource name" })?;
        if delta {
            staged.remove(name);
        }
        let policy = build(name, bytes, &mut decoder, current.and_then(|keys| keys.get(*name)))?;
        if let Err(taken) = staged.insert(name, &policy) {
            return Err(collision(&taken, &staged, name, &policy, update));
        }
    }
    Ok(staged.finish())
}

fn check_name(name: &str, subject: &str) -> Result<(), Rejected> {
    if name.is_empty() {
        return Err(Rejected::resource_problem(name, format!("{subject} must not be empty")));
    }
    // The vertical tab is white space in C.
    if name.bytes().any(|b| b.is_ascii_whitespace() || b == 0x0b) {
        return Err(Rejected::resource_problem(name, format!("{subject} '{name}' must not contain whitespace")));
    }
    Ok(())
}

fn collision(taken: &str, staged: &Staged<'_>, name: &str, policy: &EndpointPolicy, update: &Update<'_>) -> Rejected {
    let resource = |name: &str, policy: &EndpointPolicy| {
        format!("policy resource '{name}' ({})", endpoint(policy.endpoint_id(), policy.ips()))
    };
    let existing = match staged.get(taken) {
        Some(Key::Resource(owner)) => resource(taken, owner),
        Some(Key::Address(owner)) => match staged.get(owner) {
            Some(Key::Resource(policy)) => format!("endpoint IP alias '{taken}' owned by {}", resource(owner, policy)),
            _ => format!("endpoint IP alias '{taken}'"),
        },
        None => format!("resource key '{taken}'"),
    };
    let problem = format!(
        "NetworkPolicyResource update for version {} has duplicate resource key '{taken}' on {} stream: incoming {} \
         collides with existing {existing}",
        update.version,
        if update.new_stream { "a new" } else { "an old" },
        resource(name, policy),
    );
    let field = if taken == name { "" } else { "endpoint_ips" };
    Rejected::field_problem(name, Some(endpoint(policy.endpoint_id(), policy.ips())), FieldError::new(field, problem))
}

fn endpoint<'a>(id: u64, ips: impl Iterator<Item = &'a str>) -> String {
    format!("endpoint_id {id}, endpoint_ips [{}]", ips.collect::<Vec<_>>().join(", "))
}

/// Makes the policy of a resource, or finds that `old` is it.
fn build(
    name: &str,
    bytes: &[u8],
    decoder: &mut Decoder<'_>,
    old: Option<&Key>,
) -> Result<Arc<EndpointPolicy>, Rejected> {
    if bytes.len() > MAX_RESOURCE {
        return Err(Rejected::resource_problem(name, format!("larger than {MAX_RESOURCE} bytes")));
    }
    let raw = RawPolicy::decode(bytes)
        .map_err(|error| Rejected::resource_problem(name, format!("not a NetworkPolicy message: {error}")))?;
    let parts = parts(&raw, decoder).map_err(|error| {
        let whose = endpoint(raw.endpoint_id, raw.endpoint_ips.iter().map(String::as_str));
        Rejected::field_problem(name, Some(whose), error)
    })?;
    match old {
        Some(Key::Resource(old)) if old.is(&parts) => Ok(Arc::clone(old)),
        _ => Ok(Arc::new(EndpointPolicy::new(name, parts))),
    }
}

fn parts(raw: &RawPolicy<'_>, decoder: &mut Decoder<'_>) -> Result<Parts, FieldError> {
    if raw.endpoint_ips.is_empty() {
        return Err(FieldError::new("endpoint_ips", "NetworkPolicyResource has no endpoint ips"));
    }
    if raw.endpoint_ips.len() > MAX_IPS {
        return Err(FieldError::new("endpoint_ips", format!("more than {MAX_IPS} items")));
    }
    if let Some(index) = raw.endpoint_ips.iter().position(String::is_empty) {
        return Err(FieldError::new(&format!("endpoint_ips[{index}]"), "must not be empty"));
    }
    if raw.endpoint_id == 0 {
        return Err(FieldError::new("endpoint_id", "NetworkPolicyResource endpoint_id must be non-zero"));
    }
    Ok(Parts {
        endpoint_id: raw.endpoint_id,
        ips: raw.endpoint_ips.iter().map(|ip| ip.as_str().into()).collect(),
        ingress: decoder.table(&raw.ingress, "ingress_per_port_policies")?,
        egress: decoder.table(&raw.egress, "egress_per_port_policies")?,
    })
}
