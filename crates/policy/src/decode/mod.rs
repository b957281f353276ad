//! From messages to the model, with the checks of the API.

mod error;
mod headers;
mod l7;
mod rule;

pub(crate) use error::{At, FieldError};
pub(crate) use rule::rule;

use std::sync::Arc;

use crate::model::{HttpRule, Remotes, TlsContext};
use crate::secret::SecretCell;

/// Where decoded parts go that several rules may share.
pub(crate) trait Shared {
    fn secret(&mut self, name: &str) -> Arc<SecretCell>;
    fn remotes(&mut self, remotes: Vec<u32>) -> Arc<Remotes>;
    fn downstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext>;
    fn upstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext>;
    /// The HTTP rules of that serialised form, if some rule has them already.
    fn http(&mut self, bytes: &[u8]) -> Option<Arc<[HttpRule]>>;
    fn add_http(&mut self, bytes: Vec<u8>, rules: &Arc<[HttpRule]>);
}
