//! Request headers as the engine sees them, and what policy did to them.

pub(crate) mod action;
pub(crate) mod matcher;
pub(crate) mod method;
mod text;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use view::{Lookup, View};

/// The name that Envoy keeps a request header under: `host` is another word for `:authority`. Names are lower case.
pub(crate) fn kept_as(name: &str) -> &str {
    if name == "host" { ":authority" } else { name }
}

/// Headers of a request. Names are lower case; pseudo headers (`:path`, `:method`, `:authority`, ...) are included, and
/// `host` is one of them, `:authority`.
pub trait Headers {
    /// All values of a header, in order.
    fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]>;
    /// Appends a value.
    fn add(&mut self, name: &str, value: &[u8]);
    /// Replaces all values with one.
    fn set(&mut self, name: &str, value: &[u8]);
    /// Removes all values.
    fn remove(&mut self, name: &str);
}

/// What `header_matches` found wrong, for the access log: ordered, without duplicates.
/// Values that come from a secret read `[redacted]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderLog {
    /// Expected values the request did not carry.
    pub missing: Vec<(String, Vec<u8>)>,
    /// Values the request carried and should not have.
    pub rejected: Vec<(String, Vec<u8>)>,
}

impl HeaderLog {
    pub(crate) fn add_missing(&mut self, name: &str, value: &[u8]) {
        add_once(&mut self.missing, name, value);
    }

    pub(crate) fn add_rejected(&mut self, name: &str, value: &[u8]) {
        add_once(&mut self.rejected, name, value);
    }
}

fn add_once(list: &mut Vec<(String, Vec<u8>)>, name: &str, value: &[u8]) {
    if !list.iter().any(|(n, v)| n == name && v == value) {
        list.push((name.to_owned(), value.to_owned()));
    }
}

/// Headers as an ordered list, for callers without a header map of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderList(pub Vec<(String, Vec<u8>)>);

impl Headers for HeaderList {
    fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The new value goes to the end.
    fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }
}

impl<N: Into<String>, V: Into<Vec<u8>>> FromIterator<(N, V)> for HeaderList {
    /// Names are stored in lower case, `host` as `:authority`.
    fn from_iter<T: IntoIterator<Item = (N, V)>>(iter: T) -> Self {
        Self(
            iter.into_iter()
                .map(|(name, value)| {
                    let mut name = name.into();
                    name.make_ascii_lowercase();
                    let kept = kept_as(&name);
                    (if kept == name { name } else { kept.to_owned() }, value.into())
                })
                .collect(),
        )
    }
}
