//! Parts that several rules and endpoints share, by content.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use cilium_proto::cilium as pb;
use prost::Message;

use crate::compile::{Entry, Ports};
use crate::decode::{self, At, FieldError, Shared};
use crate::model::{HttpRule, Remotes, TlsContext};
use crate::secret::{SecretCell, Secrets};

type Weaks<K, V> = HashMap<K, Weak<V>>;

/// Known parts of one stream. Weak: a part goes when the last policy that holds it goes.
#[derive(Debug, Default)]
pub(super) struct Interned {
    entries: Weaks<Vec<u8>, Entry>,
    remotes: Weaks<Vec<u32>, Remotes>,
    downstream: Weaks<TlsContext, TlsContext>,
    upstream: Weaks<TlsContext, TlsContext>,
    http: Weaks<Vec<u8>, [HttpRule]>,
}

/// Decodes entries with the parts that are known.
pub(super) struct Decoder<'a> {
    pub interned: &'a mut Interned,
    pub secrets: &'a mut Secrets,
}

impl Decoder<'_> {
    pub(super) fn entries(
        &mut self,
        list: Vec<pb::PortNetworkPolicy>,
    ) -> Result<Box<[Arc<Entry>]>, (usize, FieldError)> {
        list.into_iter()
            .enumerate()
            .map(|(index, message)| self.entry(message).map_err(|error| (index, error)))
            .collect()
    }

    fn entry(&mut self, message: pb::PortNetworkPolicy) -> Result<Arc<Entry>, FieldError> {
        let bytes = message.encode_to_vec();
        if let Some(known) = self.interned.entries.get(&bytes).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let mut rules = Vec::with_capacity(message.rules.len());
        let ports = ports(&message)?;
        for (index, rule) in message.rules.into_iter().enumerate() {
            rules.push(Arc::new(decode::rule(rule, self).at_index("rules", index)?));
        }
        let entry = Arc::new(Entry { ports, rules: rules.into() });
        self.interned.entries.insert(bytes, Arc::downgrade(&entry));
        Ok(entry)
    }
}

fn ports(message: &pb::PortNetworkPolicy) -> Result<Option<Ports>, FieldError> {
    let port =
        |value: u32, field| u16::try_from(value).map_err(|_| FieldError::new(field, format!("{value} is above 65535")));
    let (first, end) = (port(message.port, "port")?, port(message.end_port, "end_port")?);
    if message.protocol != 0 {
        return Ok(None);
    }
    if end != 0 && end < first {
        return Err(FieldError::new(
            "end_port",
            format!("PortNetworkPolicy: Invalid port range, end port is less than start port {first}-{end}"),
        ));
    }
    if first == 0 && end > 0 {
        return Err(FieldError::new(
            "port",
            format!("PortNetworkPolicy: Invalid port range including the wildcard zero port {first}-{end}"),
        ));
    }
    Ok(Some(Ports { first, last: end.max(first) }))
}

fn shared<K: std::hash::Hash + Eq, V>(map: &mut Weaks<K, V>, key: K, new: impl FnOnce() -> V) -> Arc<V> {
    if let Some(known) = map.get(&key).and_then(Weak::upgrade) {
        return known;
    }
    let made = Arc::new(new());
    map.insert(key, Arc::downgrade(&made));
    made
}

impl Shared for Decoder<'_> {
    fn secret(&mut self, name: &str) -> Arc<SecretCell> {
        self.secrets.cell(name)
    }

    fn remotes(&mut self, remotes: Vec<u32>) -> Arc<Remotes> {
        shared(&mut self.interned.remotes, remotes.clone(), || Remotes::new(remotes))
    }

    fn downstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext> {
        shared(&mut self.interned.downstream, context.clone(), || context)
    }

    fn upstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext> {
        shared(&mut self.interned.upstream, context.clone(), || context)
    }

    fn http(&mut self, bytes: &[u8]) -> Option<Arc<[HttpRule]>> {
        self.interned.http.get(bytes).and_then(Weak::upgrade)
    }

    fn add_http(&mut self, bytes: Vec<u8>, rules: &Arc<[HttpRule]>) {
        self.interned.http.insert(bytes, Arc::downgrade(rules));
    }
}
