//! What there is of the TLS contexts that policies use: a connection can only have one that Envoy has sockets for.

use std::collections::HashMap;

use cilium_proto::cilium_proxy::v1::TlsContextState;
use prost::Message;

/// Contexts by name. Immutable.
#[derive(Clone, Debug, Default)]
pub struct TlsContexts {
    known: HashMap<String, TlsContextPlace>,
    generation: u64,
}

/// Where a context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsContextPlace {
    /// In listeners and clusters, since a [`TlsContexts::generation`].
    InPlace {
        /// That generation.
        since: u64,
    },
    /// Not there yet, for this reason.
    Missing(String),
}

impl TlsContexts {
    /// The context of that name; `None`: nothing is known of it yet.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TlsContextPlace> {
        self.known.get(name)
    }

    /// Counts changes.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What they are after a change. With `full`, contexts that are not among the upserts go.
    pub(crate) fn update(&self, full: bool, upserts: &[(&str, &[u8])], removed: &[&str]) -> Result<Self, String> {
        let since = self.generation + 1;
        let mut known = if full { HashMap::new() } else { self.known.clone() };
        for (name, resource) in upserts {
            let state = TlsContextState::decode(*resource)
                .map_err(|error| format!("state of TLS context {name} does not parse: {error}"))?;
            let place = match (state.missing.is_empty(), self.known.get(*name)) {
                (false, _) => TlsContextPlace::Missing(state.missing),
                (true, Some(before @ TlsContextPlace::InPlace { .. })) => before.clone(),
                (true, _) => TlsContextPlace::InPlace { since },
            };
            known.insert((*name).to_owned(), place);
        }
        for name in removed {
            known.remove(*name);
        }
        Ok(Self { known, generation: since })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    const IN_PLACE: &[u8] = b"";
    const MISSING: &[u8] = b"\x0a\x02no";

    #[test]
    fn a_context_is_in_place_since_the_change_that_brought_it() {
        let first = TlsContexts::default().update(true, &[("a", IN_PLACE), ("b", MISSING)], &[]).unwrap();
        let second = first.update(false, &[("a", IN_PLACE), ("b", IN_PLACE)], &[]).unwrap();
        assert_eq!(first.get("b"), Some(&TlsContextPlace::Missing("no".to_owned())));
        assert_eq!(second.get("a"), Some(&TlsContextPlace::InPlace { since: 1 }));
        assert_eq!(second.get("b"), Some(&TlsContextPlace::InPlace { since: 2 }));
    }

    #[test]
    fn contexts_go_by_name_and_with_a_whole_state_without_them() {
        let both = TlsContexts::default().update(true, &[("a", IN_PLACE), ("b", IN_PLACE)], &[]).unwrap();
        assert_eq!(both.update(false, &[], &["a"]).unwrap().get("a"), None);
        assert_eq!(both.update(true, &[("a", IN_PLACE)], &[]).unwrap().get("b"), None);
    }
}
