//! Patterns for TLS server names: `*` stands for any characters of a label, `**` for one or more labels.

#[cfg(test)]
mod tests;

use thiserror::Error;

/// DNS names have at most 127 labels.
const MAX_LABELS: usize = 127;

/// A pattern that may not be used.
#[derive(Debug, Error)]
#[error("SniPattern: Unsupported match pattern {0}")]
pub struct SniPatternError(String);

/// A server-name pattern as in `server_names` of a rule. Compares without case.
///
/// - `example.com`: that name alone;
/// - `*.example.com`: one label before `example.com`; `sub*.example.com`: a label that begins with `sub`;
/// - `**.example.com`: one or more labels before `example.com`;
/// - `*` and `**` alone: any name made of letters, digits, `-`, `_` and single inner dots.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SniPattern {
    /// Lower case.
    pattern: Box<str>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Only the empty pattern: it matches nothing.
    Never,
    Exact,
    Labels,
}

impl SniPattern {
    /// Checks and stores a pattern. The empty pattern is valid here and matches nothing; in a policy it is refused.
    pub fn new(pattern: &str) -> Result<Self, SniPatternError> {
        if !pattern.is_empty() && (!pattern.split('.').all(is_valid_label) || pattern.split('.').count() > MAX_LABELS) {
            return Err(SniPatternError(pattern.to_owned()));
        }
        let kind = match pattern {
            "" => Kind::Never,
            _ if pattern.contains('*') => Kind::Labels,
            _ => Kind::Exact,
        };
        // A lone wildcard is any name.
        let pattern = if pattern == "*" { "**" } else { pattern };
        Ok(Self { pattern: pattern.to_ascii_lowercase().into(), kind })
    }

    /// The pattern in lower case; `*` reads `**`, which means the same.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole server name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.kind {
            Kind::Never => false,
            Kind::Exact => self.pattern.eq_ignore_ascii_case(name),
            Kind::Labels => labels_match(self.pattern.as_bytes(), name.as_bytes()),
        }
    }
}

fn is_dns_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// `*`, `**`, or name characters with single stars between, before or after them.
fn is_valid_label(label: &str) -> bool {
    if label == "*" || label == "**" {
        return true;
    }
    let bytes = label.as_bytes();
    bytes.iter().any(|&b| b != b'*')
        && bytes.iter().all(|&b| is_dns_byte(b) || b == b'*')
        && !bytes.windows(2).any(|pair| pair == b"**")
}

/// Runs over the labels of the name with the set of pattern labels that may come next, as bits.
fn labels_match(pattern: &[u8], name: &[u8]) -> bool {
    let mut open: u128 = 1;
    let mut end = 0;
    for part in name.split(|&b| b == b'.') {
        let is_name = !part.is_empty() && part.iter().all(|&b| is_dns_byte(b));
        let mut next = 0;
        end = 0;
        for label in pattern.split(|&b| b == b'.') {
            let here = 1 << end;
            end += 1;
            if open & here == 0 {
                continue;
            }
            if label == b"**" {
                if is_name {
                    next |= here | here << 1;
                }
            } else if label_matches(label, part) {
                next |= here << 1;
            }
        }
        if next == 0 {
            return false;
        }
        open = next;
    }
    open & 1 << end != 0
}

/// One label against a pattern with single stars; a star takes any name characters, also none.
fn label_matches(pattern: &[u8], label: &[u8]) -> bool {
    let (mut p, mut l) = (0, 0);
    let mut retry = None;
    while l < label.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            retry = Some((p, l));
        } else if p < pattern.len() && pattern[p] == label[l].to_ascii_lowercase() {
            p += 1;
            l += 1;
        } else if let Some((after, taken)) = retry
            && is_dns_byte(label[taken])
        {
            (p, l) = (after, taken + 1);
            retry = Some((after, taken + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}
