//! The replies a memcache client waits for.

use std::collections::VecDeque;

/// Most replies that may be owed to a client.
const MAX_OWED: usize = 1 << 18;
/// Why a connection with more is closed.
pub(crate) const TOO_MANY: &str = "more than 262144 requests without reply";

/// A reply that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owed<T> {
    /// The server's, to this request.
    Reply(T),
    /// Any number of replies to quiet requests.
    Quiet,
    /// The server's, to the client's no-op.
    Mark,
    /// The server's, to a no-op of ours: to be replaced by this denial, or by nothing.
    OwnMark(Vec<u8>),
    /// A denial, ours.
    Denial(Vec<u8>),
}

/// Replies owed to the client, oldest first.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    owed: VecDeque<Owed<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { owed: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    /// Adds a reply; false if there are too many. Quiet ones in a row are one.
    #[must_use]
    pub(crate) fn push(&mut self, owed: Owed<T>) -> bool {
        if matches!(owed, Owed::Quiet) && self.ends_quiet() {
            return true;
        }
        self.owed.push_back(owed);
        self.owed.len() <= MAX_OWED
    }

    /// It is unknowable when the replies to all requests so far have come.
    pub(crate) fn ends_quiet(&self) -> bool {
        matches!(self.owed.back(), Some(Owed::Quiet))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Owed<T>> {
        self.owed.front()
    }

    /// Puts a reply before all others.
    pub(crate) fn push_front(&mut self, owed: Owed<T>) {
        self.owed.push_front(owed);
    }

    pub(crate) fn pop(&mut self) -> Option<Owed<T>> {
        self.owed.pop_front()
    }

    /// The denials whose turn it is.
    pub(crate) fn take_denials(&mut self) -> Vec<u8> {
        let mut denials = Vec::new();
        while let Some(Owed::Denial(denial)) = self.owed.front() {
            denials.extend_from_slice(denial);
            self.owed.pop_front();
        }
        denials
    }
}
