//! Encoded entries, one after the other.

/// Entries that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// Notes that an entry ends where `bytes` does.
    pub(crate) fn end_entry(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// All of them, in order.
    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries { bytes: &self.bytes, ends: &self.ends, start: 0 }
    }
}

/// Encoded entries that are not sent yet.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'b> {
    bytes: &'b [u8],
    ends: &'b [usize],
    start: usize,
}

impl<'b> Entries<'b> {
    /// A single entry; `end` is its length.
    pub(crate) fn one(entry: &'b [u8], end: &'b [usize; 1]) -> Self {
        Self { bytes: entry, ends: end, start: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn first(&self) -> Option<&'b [u8]> {
        self.iter().next()
    }

    /// Those before the first that is larger than `limit` bytes.
    pub(crate) fn up_to(&self, limit: usize) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.iter().take_while(move |entry| entry.len() <= limit)
    }

    fn iter(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let (bytes, mut start) = (self.bytes, self.start);
        self.ends.iter().map(move |&end| {
            let entry = &bytes[start..end];
            start = end;
            entry
        })
    }

    /// Leaves the first entries out.
    pub(crate) fn skip(&mut self, count: usize) {
        let (gone, rest) = self.ends.split_at(count);
        self.start = gone.last().copied().unwrap_or(self.start);
        self.ends = rest;
    }
}
