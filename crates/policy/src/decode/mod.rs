//! From messages to the model, with the checks of the API.

mod error;
mod fields;
mod headers;
mod l7;
mod rule;

pub(crate) use error::{At, FieldError};
pub(crate) use fields::check_fields;
pub(crate) use headers::http_rules;
pub(crate) use rule::rule;

use std::sync::Arc;

use crate::model::{Remotes, TlsContext};
use crate::regex::{Regex, RegexError};
use crate::secret::SecretCell;

/// Where decoded parts go that several rules may share.
pub(crate) trait Shared {
    /// Whether the rule will be enforced. If not, only what the API says of single fields is checked.
    fn enforced(&self) -> bool {
        true
    }
    fn secret(&mut self, name: &str) -> Arc<SecretCell>;
    fn regex(&mut self, pattern: &str) -> Result<Arc<Regex>, RegexError>;
    fn remotes(&mut self, remotes: Vec<u32>) -> Arc<Remotes>;
    fn downstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext>;
    fn upstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext>;
}
