//! Python bindings of the policy engine.
