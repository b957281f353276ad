//! The bytes of a connection, where they are.

use std::borrow::Cow;

use crate::network::Connection;
use crate::raw::{self, Buffer};

impl Connection<'_> {
    /// What has come from the client, within `on_read`; stays in Envoy's buffer. Copied only if it is in several pieces.
    #[must_use]
    pub fn peek_read(&self) -> Cow<'_, [u8]> {
        // SAFETY: `self.envoy` is live during the call.
        let size = unsafe { raw::network::read_chunks_size(self.envoy) };
        // SAFETY: as above; `pieces` has the room that `size` says.
        joined(size, |pieces| unsafe { raw::network::read_chunks(self.envoy, pieces) })
    }

    /// What is to go to the client, within `on_write`; stays in Envoy's buffer. Copied only if it is in several pieces.
    #[must_use]
    pub fn peek_write(&self) -> Cow<'_, [u8]> {
        // SAFETY: `self.envoy` is live during the call.
        let size = unsafe { raw::network::write_chunks_size(self.envoy) };
        // SAFETY: as above; `pieces` has the room that `size` says.
        joined(size, |pieces| unsafe { raw::network::write_chunks(self.envoy, pieces) })
    }
}

/// `fill` writes `size` pieces, which stay as they are during `'c`: only calls on `&mut Connection` change the buffer.
fn joined<'c>(size: usize, fill: impl FnOnce(*mut Buffer) -> bool) -> Cow<'c, [u8]> {
    let mut one = [Buffer::EMPTY];
    let mut many = Vec::new();
    let pieces = if size <= 1 {
        &mut one[..size]
    } else {
        many.resize(size, Buffer::EMPTY);
        many.as_mut_slice()
    };
    if size == 0 || !fill(pieces.as_mut_ptr()) {
        return Cow::Borrowed(&[]);
    }
    // SAFETY: Envoy filled the pieces with views of its buffer.
    let bytes = |piece: &Buffer| -> &'c [u8] { unsafe { piece.bytes() } };
    match pieces {
        [piece] => Cow::Borrowed(bytes(piece)),
        pieces => Cow::Owned(pieces.iter().map(bytes).collect::<Vec<_>>().concat()),
    }
}
