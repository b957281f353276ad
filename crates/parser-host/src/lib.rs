//! The thread that runs parsers which may block, and the queues before it.
//!
//! A parser that is not ours may take its time, fail or never return, and Envoy's workers wait for nobody. So a connection with
//! such a parser is a [`Session`]: the worker puts bytes in and goes on; one thread, which alone talks to the [guest], takes them
//! in turn; the worker is woken for what came of it. A second thread looks at the time that calls take. Nothing here knows
//! Python or Envoy.
//!
//! [guest]: cilium_embed_abi::Guest

#![forbid(unsafe_code)]

mod classes;
mod clock;
mod closed;
mod config;
mod core;
mod direct;
mod exchange;
mod host;
mod protocol;
mod queue;
mod runner;
mod session;
#[cfg(test)]
mod tests;
mod tracebacks;
mod watch;

pub use closed::{Cause, Closed};
pub use config::{Config, Limits, PREFIX, Source};
pub use core::Refusal;
pub use direct::{Direct, TryPolicy};
pub use host::{Host, Observer};
pub use session::{Effect, MakePolicy, NewSession, Pushed, Session};

/// Locks; a thread that panicked left nothing half-done that others could not live with.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
