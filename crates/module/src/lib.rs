//! The Cilium filters as an Envoy dynamic module.
