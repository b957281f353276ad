//! Bytes a parser adds to a direction.

/// A buffer of limited size. What does not fit is cut, and remembered as cut.
#[derive(Debug)]
pub struct InjectBuffer {
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl InjectBuffer {
    /// An empty buffer for at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, cut: false }
    }

    /// Adds bytes; returns how many fitted.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let fitting = bytes.len().min(self.limit - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..fitting]);
        self.cut |= fitting < bytes.len();
        fitting
    }

    /// The bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// No bytes wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Nothing more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() == self.limit
    }

    /// Bytes were lost since the last [`Self::take`].
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Empties the buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.cut = false;
        std::mem::take(&mut self.bytes)
    }

    /// Takes the first bytes, if there are as many.
    pub(crate) fn drain(&mut self, count: usize) -> Option<Vec<u8>> {
        if count > self.bytes.len() {
            return None;
        }
        let rest = self.bytes.split_off(count);
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}
