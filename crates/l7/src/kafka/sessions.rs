//! What a connection, or all connections, learnt from replies.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use crate::info::ConnectionInfo;

/// Most topic ids that are remembered.
const MAX_IDS: usize = 1 << 17;
/// Most fetch sessions of a connection.
const MAX_SESSIONS: usize = 64;

/// Names of topic ids, by policy, direction and port: a client learns them on another connection than it uses them on, but another
/// policy's servers must not decide what they mean. An id with two names has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicIds {
    names: Arc<RwLock<Names>>,
}

type Names = HashMap<(Scope, Uuid), Option<String>>;

/// Whose topic ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope(String, bool, u16);

impl Scope {
    pub(crate) fn of(info: &ConnectionInfo) -> Self {
        Self(info.policy_name.clone(), info.ingress, info.port)
    }
}

impl TopicIds {
    pub(crate) fn learn(&self, scope: &Scope, topics: impl Iterator<Item = (Uuid, String)>) {
        let topics: Vec<_> = topics.filter(|(id, _)| !id.is_nil()).collect();
        {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            let known = |(id, name): &(Uuid, String)| {
                names.get(&(scope.clone(), *id)).is_some_and(|known| known.as_ref().is_none_or(|known| known == name))
            };
            if topics.iter().all(known) {
                return;
            }
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() + topics.len() > MAX_IDS {
            names.clear();
        }
        for (id, name) in topics {
            let known = names.entry((scope.clone(), id)).or_insert_with(|| Some(name.clone()));
            if known.as_ref().is_some_and(|known| *known != name) {
                *known = None;
            }
        }
    }

    pub(crate) fn name(&self, scope: &Scope, id: Uuid) -> Option<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&(scope.clone(), id)).cloned().flatten()
    }
}

/// The topics of a connection's fetch sessions: later fetches name only what changes.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    topics: HashMap<i32, Vec<String>>,
}

impl Sessions {
    pub(crate) fn get(&self, id: i32) -> Option<&[String]> {
        self.topics.get(&id).map(Vec::as_slice)
    }

    pub(crate) fn set(&mut self, id: i32, topics: Vec<String>) {
        if self.topics.len() >= MAX_SESSIONS {
            self.topics.clear();
        }
        self.topics.insert(id, topics);
    }

    pub(crate) fn forget(&mut self, id: i32) {
        self.topics.remove(&id);
    }
}
