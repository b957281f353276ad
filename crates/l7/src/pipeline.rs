//! Replies in the order of their requests.

use std::collections::VecDeque;

use thiserror::Error;

use crate::parser::Context;

/// Most replies that may be owed to a client.
const MAX_OWED: usize = 1 << 18;
/// Most bytes of denials that may wait for earlier replies.
const MAX_HELD: usize = 1 << 20;

/// The replies a client waits for, oldest first: those the server will send, and denials that wait for their turn.
#[derive(Debug)]
pub(crate) struct Pipeline<T> {
    owed: VecDeque<Owed<T>>,
    held: usize,
}

#[derive(Debug)]
enum Owed<T> {
    Server(T),
    Denial(Vec<u8>),
}

/// The client sends faster than the server answers, beyond reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "more than {MAX_OWED} requests without reply, or more than {MAX_HELD} bytes of denials waiting for earlier replies"
)]
pub(crate) struct PipelineFullError;

impl<T> Default for Pipeline<T> {
    fn default() -> Self {
        Self { owed: VecDeque::new(), held: 0 }
    }
}

impl<T> Pipeline<T> {
    /// A request went to the server.
    pub(crate) fn expect(&mut self, request: T) -> Result<(), PipelineFullError> {
        if self.owed.len() >= MAX_OWED {
            return Err(PipelineFullError);
        }
        self.owed.push_back(Owed::Server(request));
        Ok(())
    }

    /// Answers a denied request: at once, if nothing is owed before it.
    pub(crate) fn deny(&mut self, context: &mut Context<'_>, reply: &[u8]) -> Result<(), PipelineFullError> {
        if self.owed.is_empty() {
            context.inject(true, reply);
            return Ok(());
        }
        if self.owed.len() >= MAX_OWED || self.held + reply.len() > MAX_HELD {
            return Err(PipelineFullError);
        }
        self.held += reply.len();
        self.owed.push_back(Owed::Denial(reply.to_vec()));
        Ok(())
    }

    /// Injects the denials whose turn it is; returns how many bytes they have.
    pub(crate) fn release(&mut self, context: &mut Context<'_>) -> usize {
        let mut released = 0;
        while let Some(Owed::Denial(reply)) = self.owed.front() {
            context.inject(true, reply);
            released += reply.len();
            self.owed.pop_front();
        }
        self.held -= released;
        released
    }

    /// The request the server answers next.
    pub(crate) fn next(&self) -> Option<&T> {
        self.owed.iter().find_map(|owed| match owed {
            Owed::Server(request) => Some(request),
            Owed::Denial(_) => None,
        })
    }

    /// The server's reply to the oldest request has been dealt with.
    pub(crate) fn answered(&mut self) -> Option<T> {
        let index = self.owed.iter().position(|owed| matches!(owed, Owed::Server(_)))?;
        match self.owed.remove(index) {
            Some(Owed::Server(request)) => Some(request),
            Some(Owed::Denial(_)) | None => None,
        }
    }
}
