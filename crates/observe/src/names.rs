//! What identities and addresses are called.

use std::collections::HashMap;
use std::fmt::Write as _;

use cilium_proto::cilium::LogEntry;

/// What stands before the number of an identity in the reason of a verdict.
const IDENTITY: &str = "identity ";

/// Digits of the largest identity.
const DIGITS: usize = 10;

/// Names by security identity, and of endpoints by the name of their policy, which is their IP address.
#[derive(Clone, Debug, Default)]
pub struct Names {
    identities: HashMap<u32, String>,
    endpoints: HashMap<String, String>,
}

impl Names {
    /// Names that are not empty. Reserved identities have theirs without being among them.
    #[must_use]
    pub fn new(identities: HashMap<u32, String>, endpoints: HashMap<String, String>) -> Self {
        Self { identities, endpoints }
    }

    /// The name of an identity, reserved ones included.
    fn of_identity(&self, identity: u32) -> Option<&str> {
        self.identities.get(&identity).map(String::as_str).or_else(|| reserved(identity))
    }

    /// Appends what the source is called: its name, "ID:" and its number, or "unknown".
    pub(crate) fn source(&self, entry: &LogEntry, out: &mut String) {
        self.peer(entry, entry.source_security_id, !entry.is_ingress, out);
    }

    /// Like `source`. The destination of ingress traffic has no identity in the entry: it is the endpoint.
    pub(crate) fn destination(&self, entry: &LogEntry, out: &mut String) {
        self.peer(entry, entry.destination_security_id, entry.is_ingress, out);
    }

    fn peer(&self, entry: &LogEntry, identity: u32, local: bool, out: &mut String) {
        let endpoint = if local { self.endpoints.get(&entry.policy_name).map(String::as_str) } else { None };
        match endpoint.or_else(|| self.of_identity(identity)) {
            Some(name) => out.push_str(name),
            None => {
                let _ = write!(out, "ID:{identity}");
            }
        }
    }

    /// Appends the reason of a verdict, with names behind the identities it speaks of: `identity 258 (xwing)`.
    pub(crate) fn reason(&self, reason: &str, out: &mut String) {
        // What stands between quotes is the name of a rule or the value of a header.
        for (index, part) in reason.split('"').enumerate() {
            if index > 0 {
                out.push('"');
            }
            if index % 2 == 0 {
                self.unquoted(part, out);
            } else {
                out.push_str(part);
            }
        }
    }

    fn unquoted(&self, mut text: &str, out: &mut String) {
        while let Some(at) = text.find(IDENTITY) {
            let (before, rest) = text.split_at(at);
            let digits = &rest[IDENTITY.len()..];
            let count = digits.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, behind) = digits.split_at(count);
            out.push_str(before);
            out.push_str(IDENTITY);
            out.push_str(digits);
            let alone = !before.ends_with(is_word) && !behind.starts_with(is_word);
            let number = if alone && count <= DIGITS { digits.parse().ok() } else { None };
            if let Some(name) = number.and_then(|number| self.of_identity(number)) {
                let _ = write!(out, " ({name})");
            }
            text = behind;
        }
        out.push_str(text);
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Cilium's reserved identities.
fn reserved(identity: u32) -> Option<&'static str> {
    Some(match identity {
        0 => "unknown",
        1 => "host",
        2 => "world",
        3 => "unmanaged",
        4 => "health",
        5 => "init",
        6 => "remote-node",
        7 => "kube-apiserver",
        8 => "ingress",
        9 => "world-ipv4",
        10 => "world-ipv6",
        11 => "encrypted-overlay",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        let names = Names::new(HashMap::from([(258, "xwing".to_owned())]), HashMap::new());
        let mut out = String::new();
        names.reason(text, &mut out);
        out
    }

    #[test]
    fn identities_in_reasons_get_their_names() {
        assert_eq!(
            reason(
                r#"port 80: identity 258 is not among the remotes of rule "identity 258", identity 999, identity 2"#
            ),
            concat!(
                r#"port 80: identity 258 (xwing) is not among the remotes of rule "identity 258", "#,
                "identity 999, identity 2 (world)"
            )
        );
    }

    #[test]
    fn what_only_looks_like_an_identity_stays() {
        for text in
            ["", "identity ", "identity x", "identity 258x", "nonidentity 258", "identity 00000000258", "\"", "é"]
        {
            assert_eq!(reason(text), text);
        }
        assert_eq!(reason("identity identity 2"), "identity identity 2 (world)");
    }
}
