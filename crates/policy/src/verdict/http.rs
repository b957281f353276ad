//! Requests against the HTTP rules of one rule.

use crate::headers::{HeaderLog, Headers};
use crate::model::{HttpRule, Rule};

/// Whether an allow rule allows the request. When some alternative acts on headers all alternatives are evaluated, so
/// that all actions are taken.
pub(super) fn allows<H: Headers>(rule: &Rule, headers: &mut H, log: &mut HeaderLog) -> bool {
    if rule.http.is_empty() {
        return true;
    }
    if !rule.has_header_actions {
        return rule.http.iter().any(|http| matches(http, headers));
    }
    let mut allowed = false;
    for http in &*rule.http {
        if matches(http, headers) {
            let mut passes = true;
            for action in &*http.actions {
                passes &= action.apply(headers, log).passes();
            }
            allowed |= passes;
        }
    }
    allowed
}

fn matches<H: Headers>(http: &HttpRule, headers: &H) -> bool {
    http.headers.iter().all(|matcher| matcher.matches(headers))
}
