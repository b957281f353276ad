//! Sizes beyond which an update is refused, far above what policies need. Patterns have their own limits: see
//! [`regex`](crate::regex).

/// Bytes of one resource.
pub const MAX_RESOURCE: usize = 64 << 20;
/// Port entries of one direction of an endpoint.
pub const MAX_ENTRIES: usize = 65_536;
/// Rules of one port entry.
pub const MAX_RULES: usize = 65_536;
/// Rules of one direction after overlapping entries were merged.
pub const MAX_MERGED_RULES: usize = crate::compile::MAX_MERGED_RULES;
