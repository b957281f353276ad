//! The Envoy dynamic-module ABI: declarations and safe wrappers.
