//! Named resources in, snapshots out. An update is accepted whole or not at all.

mod endpoint;
mod intern;
mod keys;
pub mod limits;
mod map;
mod pool;
mod rejected;
mod snapshot;
mod wire;

#[cfg(test)]
mod tests;

pub use endpoint::EndpointPolicy;
pub(crate) use endpoint::Fallback;
pub use map::PolicyMap;
pub use rejected::Rejected;
pub use snapshot::Snapshot;

/// A set of changes to the named resources.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// The sender's version, for messages and [`Snapshot::version`].
    pub version: &'a str,
    /// Whether `upserts` is all there is, or what changed.
    pub kind: UpdateKind,
    /// The stream to the sender was opened anew since the last accepted update: nothing of the old one is kept.
    pub new_stream: bool,
    /// Resource names with serialised `cilium.NetworkPolicy` messages.
    pub upserts: &'a [(&'a str, &'a [u8])],
    /// Names of removed resources; unknown ones are ignored. Without effect in a full update.
    pub removed: &'a [&'a str],
}

/// What an update says about resources it does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateKind {
    /// They are gone.
    Full,
    /// They stay.
    Delta,
}
