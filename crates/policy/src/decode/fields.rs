//! Rules that are not enforced, because their port is not TCP: fields are checked, patterns are not compiled.

use std::sync::Arc;

use cilium_proto::cilium::PortNetworkPolicyRule;
use cilium_proto::cilium::port_network_policy_rule::L7;

use crate::decode::{FieldError, Shared, http_rules, rule};
use crate::model::{Remotes, TlsContext};
use crate::regex::{Regex, RegexError};
use crate::secret::SecretCell;

/// Checks what the API says of single fields, as the reference does with entries that it then leaves out.
pub(crate) fn check_fields(mut message: PortNetworkPolicyRule) -> Result<(), FieldError> {
    let http = match &mut message.l7 {
        Some(L7::HttpRules(rules)) => http_rules(&[], std::mem::take(rules), &mut NotEnforced).map(Arc::new),
        _ => Ok(Arc::default()),
    };
    rule(&[], message, http, &mut NotEnforced).map(|_| ())
}

/// Parts of a rule that nobody will ask.
struct NotEnforced;

impl Shared for NotEnforced {
    fn enforced(&self) -> bool {
        false
    }

    fn secret(&mut self, name: &str) -> Arc<SecretCell> {
        Arc::new(SecretCell::new(name))
    }

    fn regex(&mut self, _: &str) -> Result<Arc<Regex>, RegexError> {
        Regex::new("").map(Arc::new)
    }

    fn remotes(&mut self, _: Vec<u32>) -> Arc<Remotes> {
        Arc::default()
    }

    fn downstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext> {
        Arc::new(context)
    }

    fn upstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext> {
        Arc::new(context)
    }
}
