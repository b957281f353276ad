//! The value of a header as one string of bytes.

use crate::headers::Headers;

/// All values of one header, joined with `,` where there are several (as Envoy compares them). One value, the usual
/// case, is borrowed.
pub(crate) enum View<'h> {
    Missing,
    One(&'h [u8]),
    Joined(Vec<u8>),
}

impl<'h> View<'h> {
    pub(crate) fn of<H: Headers>(headers: &'h H, name: &'h str) -> Self {
        let mut values = headers.values(name);
        let Some(first) = values.next() else { return Self::Missing };
        let Some(second) = values.next() else { return Self::One(first) };
        let mut joined = Vec::with_capacity(first.len() + second.len() + 64);
        joined.extend_from_slice(first);
        joined.push(b',');
        joined.extend_from_slice(second);
        for value in values {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Self::Joined(joined)
    }

    pub(crate) fn get(&self) -> Option<&[u8]> {
        match self {
            Self::Missing => None,
            Self::One(value) => Some(value),
            Self::Joined(value) => Some(value),
        }
    }
}
