//! Protocols by name, and how far each is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::lock;
use crate::protocol::GuestProtocol;

/// The protocols that were asked for.
#[derive(Default)]
pub(crate) struct Classes(Mutex<State>);

#[derive(Default)]
struct State {
    classes: HashMap<Arc<str>, Class>,
    /// Why there are none.
    broken: Option<String>,
}

/// How far a protocol is.
#[derive(Clone)]
pub(crate) enum Class {
    Loading,
    Loaded(Arc<GuestProtocol>),
    /// Why it cannot be had.
    Failed(String),
}

impl Classes {
    /// Notes that one is wanted; its name, if it has to be loaded.
    pub(crate) fn want(&self, name: &str) -> Option<Arc<str>> {
        let mut state = lock(&self.0);
        if state.broken.is_some() || state.classes.contains_key(name) {
            return None;
        }
        let name: Arc<str> = name.into();
        state.classes.insert(Arc::clone(&name), Class::Loading);
        Some(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Class> {
        let state = lock(&self.0);
        state.broken.clone().map(Class::Failed).or_else(|| state.classes.get(name).cloned())
    }

    /// Puts one in its place; the one before is for the caller to drop.
    pub(crate) fn set(&self, name: &Arc<str>, class: Class) -> Option<Class> {
        lock(&self.0).classes.insert(Arc::clone(name), class)
    }

    /// From now on there are none.
    pub(crate) fn set_broken(&self, reason: &str) {
        lock(&self.0).broken = Some(reason.to_owned());
    }

    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = lock(&self.0).classes.keys().cloned().collect();
        names.sort();
        names
    }
}
