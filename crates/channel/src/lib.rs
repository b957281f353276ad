//! Client of the policy channel (`api/cilium_proxy/v1/policy_channel.proto`).
//!
//! A [`Client`] keeps a thread that connects to the control plane, takes transactions and publishes what they amount to
//! as an immutable [`State`]. Workers read it through a [`SharedState`] without waiting. Knows nothing of Envoy.

#![forbid(unsafe_code)]

mod backoff;
mod client;
mod enforced;
mod frame;
mod observer;
mod resource;
mod retire;
mod secret;
mod session;
mod state;
mod tls;
mod transaction;
mod wake;

pub use client::{Client, Config};
pub use frame::Limits;
pub use observer::{Observer, Outcome, Update};
pub use resource::ResourceType;
pub use state::{Applied, SharedState, State, StateGuard, Versions};
pub use tls::{TlsContextPlace, TlsContexts};
pub use transaction::TransactionError;
