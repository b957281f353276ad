//! One transaction: collected frame by frame, then checked as a whole.

use std::collections::HashSet;

use cilium_proto::cilium_proxy::v1::begin::Kind;
use cilium_proto::cilium_proxy::v1::{Begin, Commit, Remove, Upsert};
use sha2::{Digest, Sha256};

use crate::frame::Limits;

/// Why a transaction is refused before its resources are looked at.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Frames were lost or added.
    #[error("transaction {txn} announces {announced} changes and has {received}")]
    Count {
        /// Number of the transaction.
        txn: u64,
        /// Changes according to its commit.
        announced: u64,
        /// Changes received.
        received: u64,
    },
    /// Frames were damaged.
    #[error("transaction {txn} does not match its digest")]
    Digest {
        /// Number of the transaction.
        txn: u64,
    },
    /// More changes than [`Limits::count`].
    #[error("transaction {txn} has more than {limit} changes")]
    TooMany {
        /// Number of the transaction.
        txn: u64,
        /// The bound.
        limit: u64,
    },
    /// More bytes than [`Limits::bytes`].
    #[error("transaction {txn} has more than {limit} bytes")]
    TooLarge {
        /// Number of the transaction.
        txn: u64,
        /// The bound.
        limit: usize,
    },
    /// A name in two changes.
    #[error("transaction {txn} changes resource \"{name}\" twice")]
    Twice {
        /// Number of the transaction.
        txn: u64,
        /// Name of the resource.
        name: String,
    },
    /// A whole state has nothing to remove.
    #[error("transaction {txn} is FULL and removes resource \"{name}\"")]
    RemoveInFull {
        /// Number of the transaction.
        txn: u64,
        /// Name of the resource.
        name: String,
    },
    /// Neither FULL nor DELTA.
    #[error("transaction {txn} is of kind {kind}, which protocol 1 does not have")]
    Kind {
        /// Number of the transaction.
        txn: u64,
        /// The kind given.
        kind: i32,
    },
}

/// SHA-256 over the changes of a transaction.
pub(crate) type ChangesDigest = [u8; 32];

/// A transaction that is whole and undamaged.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) kind: Kind,
    pub(crate) base: String,
    pub(crate) target: String,
    pub(crate) new_stream: bool,
    pub(crate) upserts: Vec<Upsert>,
    pub(crate) removed: Vec<String>,
    pub(crate) digest: ChangesDigest,
}

/// A transaction that is not committed yet.
#[derive(Debug)]
pub(crate) struct Assembly {
    begin: Begin,
    limits: Limits,
    hasher: Sha256,
    count: u64,
    bytes: usize,
    upserts: Vec<Upsert>,
    removed: Vec<String>,
}

impl Assembly {
    pub(crate) fn new(begin: Begin, limits: Limits) -> Self {
        Self { begin, limits, hasher: Sha256::new(), count: 0, bytes: 0, upserts: Vec::new(), removed: Vec::new() }
    }

    pub(crate) fn begin(&self) -> &Begin {
        &self.begin
    }

    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.upserts.len(), self.removed.len())
    }

    pub(crate) fn upsert(&mut self, upsert: Upsert) {
        self.hasher.update(b"U");
        self.hash(upsert.name.as_bytes());
        self.hash(&upsert.resource);
        if self.admit(upsert.name.len() + upsert.resource.len()) {
            self.upserts.push(upsert);
        }
    }

    pub(crate) fn remove(&mut self, remove: Remove) {
        self.hasher.update(b"R");
        self.hash(remove.name.as_bytes());
        if self.admit(remove.name.len()) {
            self.removed.push(remove.name);
        }
    }

    pub(crate) fn commit(self, commit: &Commit) -> Result<Transaction, TransactionError> {
        let txn = self.begin.txn;
        let Limits { count: count_limit, bytes: bytes_limit, .. } = self.limits;
        if self.count > count_limit {
            return Err(TransactionError::TooMany { txn, limit: count_limit });
        }
        if self.bytes > bytes_limit {
            return Err(TransactionError::TooLarge { txn, limit: bytes_limit });
        }
        if commit.count != self.count {
            return Err(TransactionError::Count { txn, announced: commit.count, received: self.count });
        }
        let digest: ChangesDigest = self.hasher.finalize().into();
        if commit.digest != digest {
            return Err(TransactionError::Digest { txn });
        }
        let kind =
            Kind::try_from(self.begin.kind).map_err(|_| TransactionError::Kind { txn, kind: self.begin.kind })?;
        if let (Kind::Full, Some(name)) = (kind, self.removed.first()) {
            return Err(TransactionError::RemoveInFull { txn, name: name.clone() });
        }
        let names = self.upserts.iter().map(|upsert| &upsert.name).chain(&self.removed);
        let mut seen = HashSet::with_capacity(self.upserts.len() + self.removed.len());
        for name in names {
            if !seen.insert(name.as_str()) {
                return Err(TransactionError::Twice { txn, name: name.clone() });
            }
        }
        drop(seen);
        Ok(Transaction {
            kind,
            base: self.begin.base_version,
            target: self.begin.target_version,
            new_stream: self.begin.new_stream,
            upserts: self.upserts,
            removed: self.removed,
            digest,
        })
    }

    fn hash(&mut self, bytes: &[u8]) {
        self.hasher.update((bytes.len() as u64).to_be_bytes());
        self.hasher.update(bytes);
    }

    /// Counts a change; false when a limit is passed and nothing may be kept any more.
    fn admit(&mut self, bytes: usize) -> bool {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        let within = self.count <= self.limits.count && self.bytes <= self.limits.bytes;
        if !within {
            self.upserts = Vec::new();
            self.removed = Vec::new();
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_over_tag_lengths_and_contents() {
        let mut assembly = Assembly::new(Begin { kind: Kind::Delta.into(), ..Begin::default() }, Limits::default());
        assembly.upsert(Upsert { name: "ab".to_owned(), resource: b"xyz".to_vec() });
        assembly.remove(Remove { name: "c".to_owned() });
        let expected: ChangesDigest = Sha256::digest(
            [b"U".as_slice(), &[0, 0, 0, 0, 0, 0, 0, 2], b"ab", &[0, 0, 0, 0, 0, 0, 0, 3], b"xyz"]
                .into_iter()
                .chain([b"R".as_slice(), &[0, 0, 0, 0, 0, 0, 0, 1], b"c"])
                .collect::<Vec<_>>()
                .concat(),
        )
        .into();
        let commit = Commit { txn: 0, count: 2, digest: expected.to_vec() };
        assert_eq!(assembly.commit(&commit).unwrap().digest, expected);
    }

    #[test]
    fn the_border_between_name_and_resource_counts() {
        let digest = |name: &str, resource: &str| {
            let mut assembly = Assembly::new(Begin::default(), Limits::default());
            assembly.upsert(Upsert { name: name.to_owned(), resource: resource.into() });
            assembly.hasher.finalize()
        };
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }

    #[test]
    fn a_kind_that_is_not_known_is_refused() {
        let assembly = Assembly::new(Begin { kind: 7, ..Begin::default() }, Limits::default());
        let digest = Sha256::digest([]).to_vec();
        let error = assembly.commit(&Commit { txn: 0, count: 0, digest }).unwrap_err();
        assert_eq!(error, TransactionError::Kind { txn: 0, kind: 7 });
    }

    #[test]
    fn what_passes_a_limit_is_not_kept() {
        let limits = Limits { bytes: 10, ..Limits::default() };
        let mut assembly = Assembly::new(Begin::default(), limits);
        for _ in 0..3 {
            assembly.upsert(Upsert { name: String::new(), resource: vec![0; 6] });
        }
        assert_eq!(assembly.sizes(), (0, 0));
    }
}
