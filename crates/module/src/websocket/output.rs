//! Outputs of a worker, reused: their buffers keep the size that traffic gave them.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use cilium_websocket::Output;

/// Filters of one connection call each other, each with an output of its own.
const KEPT: usize = 4;

/// Buffers above this size are given back.
const MAX_KEPT_BYTES: usize = 4 << 20;

thread_local! {
    static SPARE: RefCell<Vec<Output>> = const { RefCell::new(Vec::new()) };
}

/// An output that goes back to its worker's spare ones.
pub(super) struct PooledOutput(Output);

impl PooledOutput {
    pub(super) fn new() -> Self {
        Self(SPARE.with_borrow_mut(Vec::pop).unwrap_or_default())
    }
}

impl Drop for PooledOutput {
    fn drop(&mut self) {
        let mut output = std::mem::take(&mut self.0);
        if output.encoded.capacity() + output.decoded.capacity() > MAX_KEPT_BYTES {
            return;
        }
        output.clear();
        // A worker that ends has no spare ones any more.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(output);
            }
        });
    }
}

impl Deref for PooledOutput {
    type Target = Output;

    fn deref(&self) -> &Output {
        &self.0
    }
}

impl DerefMut for PooledOutput {
    fn deref_mut(&mut self) -> &mut Output {
        &mut self.0
    }
}
