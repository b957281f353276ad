//! Envoy's dynamic-module ABI: declarations, and wrappers that safe code can use.
//!
//! A module implements [`Module`] and the traits of the extension points it has, and exports one function, see
//! [`load`]. This crate exports all the event hooks and calls the traits from them. A panic never crosses into Envoy:
//! the connection or request it belongs to fails closed, [`panics`] counts it, and the log has its message.
//!
//! The ABI is that of Envoy 1.38 to 1.40 (`source/extensions/dynamic_modules/abi/abi.h`).

pub mod access_logger;
pub mod bootstrap;
mod factory;
mod guard;
pub mod http;
pub mod listener;
pub mod log;
mod module;
pub mod network;
mod object;
mod raw;
mod text;

pub use guard::panics;
pub use module::{Module, load};
pub use text::ConfigError;
