//! Patterns for TLS server names: `*` stands for any characters of a label, `**` for one or more labels.

#[cfg(test)]
mod tests;

use thiserror::Error;

/// DNS names have at most 127 labels.
const MAX_LABELS: usize = 127;

/// A pattern that may not be used.
#[derive(Debug, Error)]
#[error("SniPattern: Unsupported match pattern {pattern}: {problem}")]
pub struct SniPatternError {
    pattern: String,
    problem: String,
}

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
        if !pattern.is_empty()
            && let Some(problem) = problem(pattern)
        {
            return Err(SniPatternError { pattern: pattern.to_owned(), problem });
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

/// What is wrong with a pattern. Its labels are `*`, `**`, or name characters with single stars among them.
fn problem(pattern: &str) -> Option<String> {
    if pattern.split('.').count() > MAX_LABELS {
        return Some(format!("more than {MAX_LABELS} labels"));
    }
    pattern.split('.').find_map(|label| {
        if matches!(label, "*" | "**") {
            return None;
        }
        let stranger = label.chars().find(|&c| c != '*' && !u8::try_from(c).is_ok_and(is_dns_byte));
        match stranger {
            _ if label.is_empty() => Some("a label is empty".to_owned()),
            Some(c) => Some(format!("{c:?} is none of the letters, digits, '-', '_' and '*' that a label may hold")),
            None if label.contains("**") => Some(format!("\"**\" must be a whole label, not a part of {label:?}")),
            None => None,
        }
    })
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
