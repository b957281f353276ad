//! Requests whose replies are owed.

use std::collections::HashMap;

/// How many replies are owed on each stream.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    owed: HashMap<[u8; 2], u32>,
}

impl Streams {
    /// The upper half of the numbers is the server's, for events.
    pub(crate) fn is_client(stream: [u8; 2]) -> bool {
        stream[0] & 0x80 == 0
    }

    pub(crate) fn sent(&mut self, stream: [u8; 2]) {
        let owed = self.owed.entry(stream).or_default();
        *owed = owed.saturating_add(1);
    }

    pub(crate) fn answered(&mut self, stream: [u8; 2]) {
        if let Some(owed) = self.owed.get_mut(&stream) {
            *owed -= 1;
            if *owed == 0 {
                self.owed.remove(&stream);
            }
        }
    }

    pub(crate) fn owed(&self, stream: [u8; 2]) -> u32 {
        self.owed.get(&stream).copied().unwrap_or_default()
    }

    /// The next reply on the stream is to the next request on it.
    pub(crate) fn is_free(&self, stream: [u8; 2]) -> bool {
        !self.owed.contains_key(&stream)
    }

    pub(crate) fn are_free(&self) -> bool {
        self.owed.is_empty()
    }
}
