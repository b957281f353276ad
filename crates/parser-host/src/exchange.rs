//! What a worker and the host hand each other for a connection. Locked for moments only, never during a call of the guest.

use std::collections::VecDeque;

use crate::closed::Closed;
use crate::session::Effect;

/// Both ways of a connection.
#[derive(Default)]
pub(crate) struct Exchange {
    /// From the worker, in order.
    input: VecDeque<Chunk>,
    /// Bytes of `input`, by direction.
    waiting: [usize; 2],
    /// For the worker, in order.
    output: VecDeque<Effect>,
    pub(crate) closed: Option<Closed>,
    /// The host has the connection in its queue or at work.
    pub(crate) busy: bool,
    /// The worker has been woken since it looked last.
    pub(crate) woken: bool,
}

/// Bytes of a direction, and whether it ends with them.
struct Chunk {
    reply: bool,
    data: Vec<u8>,
    taken: usize,
    end: bool,
}

impl Exchange {
    /// That of a connection which is in the host's queue.
    pub(crate) fn busy() -> Self {
        Self { busy: true, ..Self::default() }
    }

    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, reply: bool, data: &[u8], end: bool) {
        self.waiting[usize::from(reply)] += data.len();
        match self.input.back_mut() {
            Some(last) if last.reply == reply && !last.end => {
                last.data.extend_from_slice(data);
                last.end = end;
            }
            _ => self.input.push_back(Chunk { reply, data: data.to_vec(), taken: 0, end }),
        }
    }

    /// The next bytes, at most `limit`: direction, bytes, end.
    pub(crate) fn pop(&mut self, limit: usize) -> Option<(bool, Vec<u8>, bool)> {
        let chunk = self.input.front_mut()?;
        let (reply, left) = (chunk.reply, chunk.data.len() - chunk.taken);
        if left > limit {
            let bytes = chunk.data[chunk.taken..chunk.taken + limit].to_vec();
            chunk.taken += limit;
            self.waiting[usize::from(reply)] -= limit;
            return Some((reply, bytes, false));
        }
        let mut chunk = self.input.pop_front()?;
        chunk.data.drain(..chunk.taken);
        self.waiting[usize::from(reply)] -= left;
        Some((reply, chunk.data, chunk.end))
    }

    /// Nothing waits on either side.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.busy && self.input.is_empty() && self.output.is_empty()
    }

    /// Bytes that wait, by direction.
    pub(crate) fn waiting(&self) -> [usize; 2] {
        self.waiting
    }

    /// Has the worker do something. Whether the host has nothing more to do for now.
    pub(crate) fn put(&mut self, effects: impl Iterator<Item = Effect>) -> bool {
        if self.closed.is_some() {
            return false;
        }
        for effect in effects {
            match self.output.back_mut() {
                Some(last) if last.reply == effect.reply && !last.end => {
                    last.bytes.extend_from_slice(&effect.bytes);
                    last.end = effect.end;
                }
                _ => self.output.push_back(effect),
            }
        }
        self.busy = !self.input.is_empty();
        !self.busy
    }

    /// What the worker has to do next. When there is nothing, it has to be woken again.
    pub(crate) fn next(&mut self) -> Option<Effect> {
        self.woken = false;
        self.output.pop_front()
    }

    /// Ends it, for the first reason that there is. Returns how many bytes waited.
    pub(crate) fn close(&mut self, closed: Closed) -> usize {
        self.closed.get_or_insert(closed);
        self.output.clear();
        self.input.clear();
        std::mem::take(&mut self.waiting).iter().sum()
    }
}
