//! The bytes of a connection, and what a filter makes of them.

use crate::network::Connection;
use crate::raw::{self, Buffer, Envoy};

/// Pieces that fit without an allocation.
const INLINE: usize = 16;

/// Bytes in Envoy's buffer, in pieces.
pub struct Data<'d> {
    pieces: &'d [Buffer],
}

impl<'d> Data<'d> {
    /// The pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &'d [u8]> + Clone + use<'d> {
        // SAFETY: Envoy filled the pieces with views of its buffer, which stays as it is while this borrows from them.
        self.pieces.iter().map(|piece| unsafe { piece.bytes() })
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.length).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Connection<'_> {
    /// Takes what has come from the client out of Envoy's buffer, within `on_read`.
    pub fn take_read<R>(&mut self, take: impl FnOnce(&Data<'_>) -> R) -> R {
        // SAFETY: as in `take`.
        let size = unsafe { raw::network::read_chunks_size(self.envoy) };
        let fill = |chunks| {
            // SAFETY: as in `take`.
            unsafe { raw::network::read_chunks(self.envoy, chunks) }
        };
        // SAFETY: as in `take`.
        self.take(size, fill, |envoy, length| unsafe { raw::network::drain_read(envoy, length) }, take)
    }

    /// Takes what is to go to the client out of Envoy's buffer, within `on_write`.
    pub fn take_write<R>(&mut self, take: impl FnOnce(&Data<'_>) -> R) -> R {
        // SAFETY: as in `take`.
        let size = unsafe { raw::network::write_chunks_size(self.envoy) };
        let fill = |chunks| {
            // SAFETY: as in `take`.
            unsafe { raw::network::write_chunks(self.envoy, chunks) }
        };
        // SAFETY: as in `take`.
        self.take(size, fill, |envoy, length| unsafe { raw::network::drain_write(envoy, length) }, take)
    }

    /// Number of bytes that are to go to the client, within `on_write`.
    #[must_use]
    pub fn write_length(&self) -> usize {
        // SAFETY: `self.envoy` is live during the call.
        unsafe { raw::network::write_size(self.envoy) }
    }

    /// Puts bytes before and after those that are to go to the client, within `on_write`.
    pub fn surround_write(&mut self, before: &[u8], after: &[u8]) {
        // SAFETY: `self.envoy` is live during the call; Envoy copies the bytes. Both refuse nothing but no bytes.
        unsafe {
            raw::network::prepend_write(self.envoy, Buffer::new(before));
            raw::network::append_write(self.envoy, Buffer::new(after));
        }
    }

    /// `size` is the number of pieces that `fill` writes; `self.envoy` and its buffer are live during the call, and
    /// nothing changes the buffer between `fill` and `drain`.
    fn take<R>(
        &self,
        size: usize,
        fill: impl FnOnce(*mut Buffer) -> bool,
        drain: impl FnOnce(Envoy, usize) -> bool,
        take: impl FnOnce(&Data<'_>) -> R,
    ) -> R {
        let mut inline = [Buffer::EMPTY; INLINE];
        let mut many = Vec::new();
        let pieces = if size <= INLINE {
            &mut inline[..size]
        } else {
            many.resize(size, Buffer::EMPTY);
            many.as_mut_slice()
        };
        let filled = size > 0 && fill(pieces.as_mut_ptr());
        let data = Data { pieces: if filled { pieces } else { &[] } };
        let length = data.len();
        let result = take(&data);
        if length > 0 {
            drain(self.envoy, length);
        }
        result
    }

    /// Has the filters after this one read these bytes. Not within `on_new_connection`: they would be lost.
    pub fn inject_read(&mut self, data: &[u8], end_stream: bool) {
        // SAFETY: `self.envoy` is live during the call; Envoy copies the bytes.
        unsafe { raw::network::inject_read(self.envoy, Buffer::new(data), end_stream) };
    }

    /// Has the filters before this one, and then the client, get these bytes.
    pub fn inject_write(&mut self, data: &[u8], end_stream: bool) {
        // SAFETY: as in `inject_read`.
        unsafe { raw::network::inject_write(self.envoy, Buffer::new(data), end_stream) };
    }

    /// Keeps each direction open when the other one ends.
    pub fn enable_half_close(&mut self) {
        // SAFETY: `self.envoy` is live during the call.
        unsafe { raw::network::enable_half_close(self.envoy, true) };
    }

    /// Stops reading from the client, or goes on with it; calls count up and down.
    pub fn stop_reading(&mut self, stop: bool) {
        // SAFETY: `self.envoy` is live during the call. The result only tells whether anything changed.
        let _ = unsafe { raw::network::read_disable(self.envoy, stop) };
    }

    /// Puts off the end of the connection while the filter holds bytes back, or no longer. Bytes can be injected towards
    /// the client all the while. Only where Envoy's runtime feature `connection_close_through_filter_manager` is on.
    pub fn hold_close(&mut self, hold: bool) {
        // SAFETY: takes a flag only, the connection is live.
        unsafe { raw::network::disable_close(self.envoy, hold) };
    }
}
