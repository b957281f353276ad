//! The policy engine: what may pass, and why.
