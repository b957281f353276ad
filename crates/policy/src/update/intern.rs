//! Parts that several rules and endpoints share, by content.

use std::sync::Arc;

use cilium_proto::cilium::{HttpNetworkPolicyRules, PortNetworkPolicyRule};
use prost::Message;

use crate::compile::{Entry, PortRule, PortRules, PortTable, Ports};
use crate::decode::{self, At, FieldError, Shared};
use crate::model::{HttpRules, Remotes, Rule, TlsContext};
use crate::regex::{Regex, RegexError};
use crate::secret::{SecretCell, Secrets};
use crate::update::limits::{MAX_ENTRIES, MAX_RULES};
use crate::update::pool::Pool;
use crate::update::wire::{RawEntry, RawRule};

/// Known parts of one stream. A part goes when the last policy that holds it goes.
#[derive(Debug)]
pub(super) struct Interned {
    tables: Pool<PortTable>,
    ports: Pool<PortRules>,
    entries: Pool<Entry>,
    rules: Pool<Rule>,
    http: Pool<HttpRules>,
    regexes: Pool<Regex>,
    remotes: Pool<Remotes>,
    downstream: Pool<TlsContext>,
    upstream: Pool<TlsContext>,
    default_rule: Arc<Rule>,
}

impl Default for Interned {
    fn default() -> Self {
        Self {
            tables: Pool::default(),
            ports: Pool::default(),
            entries: Pool::default(),
            rules: Pool::default(),
            http: Pool::default(),
            regexes: Pool::default(),
            remotes: Pool::default(),
            downstream: Pool::default(),
            upstream: Pool::default(),
            default_rule: Arc::new(Rule::default_allow()),
        }
    }
}

/// Decodes the entries of resources, with the parts that are known.
pub(super) struct Decoder<'a> {
    pub interned: &'a mut Interned,
    pub secrets: &'a mut Secrets,
}

impl Decoder<'_> {
    /// The table of one direction. `field` names its entries in messages.
    pub(super) fn table(&mut self, entries: &[&[u8]], field: &str) -> Result<Arc<PortTable>, FieldError> {
        if entries.len() > MAX_ENTRIES {
            return Err(FieldError::new(field, format!("more than {MAX_ENTRIES} entries")));
        }
        let mut decoded: Vec<Arc<Entry>> = Vec::with_capacity(entries.len());
        for (index, bytes) in entries.iter().enumerate() {
            decoded.push(self.entry(bytes).at_index(field, index)?);
        }
        let addresses: Vec<_> = decoded.iter().map(Arc::as_ptr).collect();
        let tables = &self.interned.tables;
        let hash = tables.hash(&addresses);
        let same = |table: &PortTable| {
            table.entries.len() == decoded.len() && table.entries.iter().zip(&decoded).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if let Some(known) = tables.find(hash, same) {
            return Ok(known);
        }
        let default = Arc::clone(&self.interned.default_rule);
        let ports = &mut self.interned.ports;
        let table = PortTable::new(decoded.into(), &default, |rules| port_rules(ports, rules));
        let table = Arc::new(table.map_err(|problem| FieldError::new(field, problem))?);
        self.interned.tables.insert(hash, &table);
        Ok(table)
    }

    fn entry(&mut self, bytes: &[u8]) -> Result<Arc<Entry>, FieldError> {
        let raw = RawEntry::decode(bytes).map_err(|error| FieldError::new("", error.to_string()))?;
        let ports = ports(&raw)?;
        if raw.rules.len() > MAX_RULES {
            return Err(FieldError::new("rules", format!("more than {MAX_RULES} rules")));
        }
        let mut rules = Vec::with_capacity(raw.rules.len());
        for (index, bytes) in raw.rules.iter().enumerate() {
            if ports.is_some() {
                rules.push(self.rule(bytes).at_index("rules", index)?);
            } else {
                without_effect(bytes).at_index("rules", index)?;
            }
        }
        let addresses: Vec<_> = rules.iter().map(Arc::as_ptr).collect();
        let entries = &mut self.interned.entries;
        let hash = entries.hash(&(ports, addresses));
        let same = |entry: &Entry| {
            entry.ports == ports
                && entry.rules.len() == rules.len()
                && entry.rules.iter().zip(&rules).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        Ok(entries.find(hash, same).unwrap_or_else(|| {
            let entry = Arc::new(Entry { ports, rules: rules.into() });
            entries.insert(hash, &entry);
            entry
        }))
    }

    fn rule(&mut self, bytes: &[u8]) -> Result<Arc<Rule>, FieldError> {
        let Some(RawRule { http, rest }) = RawRule::split(bytes) else {
            let message = PortNetworkPolicyRule::decode(bytes)?;
            return self.rule(&message.encode_to_vec());
        };
        let http = match http {
            Some(bytes) => self.http_rules(bytes),
            None => Ok(Arc::clone(&self.interned.default_rule.http)),
        };
        if let Some(known) = self.known_rule(&rest, &http) {
            return Ok(known);
        }
        let message = PortNetworkPolicyRule::decode(&*rest)?;
        // Senders may order fields and maps in any way.
        let canonical = message.encode_to_vec();
        if canonical != *rest
            && let Some(known) = self.known_rule(&canonical, &http)
        {
            return Ok(known);
        }
        let rule = Arc::new(decode::rule(&canonical, message, http, self)?);
        let rules = &mut self.interned.rules;
        rules.insert(rules.hash(&(&canonical[..], Arc::as_ptr(&rule.http))), &rule);
        Ok(rule)
    }

    fn known_rule(&self, source: &[u8], http: &Result<Arc<HttpRules>, FieldError>) -> Option<Arc<Rule>> {
        let http = http.as_ref().ok()?;
        let rules = &self.interned.rules;
        let same = |rule: &Rule| Arc::ptr_eq(&rule.http, http) && *rule.source == *source;
        rules.find(rules.hash(&(source, Arc::as_ptr(http))), same)
    }

    fn http_rules(&mut self, bytes: &[u8]) -> Result<Arc<HttpRules>, FieldError> {
        if let Some(known) = self.known_http(bytes) {
            return Ok(known);
        }
        let message = HttpNetworkPolicyRules::decode(bytes)?;
        let canonical = message.encode_to_vec();
        if canonical != bytes
            && let Some(known) = self.known_http(&canonical)
        {
            return Ok(known);
        }
        let rules = Arc::new(decode::http_rules(&canonical, message, self)?);
        let http = &mut self.interned.http;
        http.insert(http.hash(&canonical[..]), &rules);
        Ok(rules)
    }

    fn known_http(&self, source: &[u8]) -> Option<Arc<HttpRules>> {
        let http = &self.interned.http;
        http.find(http.hash(source), |rules| *rules.source == *source)
    }
}

/// Checks a rule of a port that is not TCP.
fn without_effect(bytes: &[u8]) -> Result<(), FieldError> {
    decode::check_fields(PortNetworkPolicyRule::decode(bytes)?)
}

/// The rules of a range, sorted, or equal ones of another range.
fn port_rules(pool: &mut Pool<PortRules>, rules: Vec<PortRule>) -> Result<Arc<PortRules>, String> {
    let key: Vec<_> = rules.iter().map(|at| (Arc::as_ptr(&at.rule), at.origin)).collect();
    let hash = pool.hash(&key);
    let same =
        |other: &PortRules| other.rules.len() == rules.len() && other.rules.iter().zip(&rules).all(|(a, b)| a.is(b));
    if let Some(known) = pool.find(hash, same) {
        return Ok(known);
    }
    let made = Arc::new(PortRules::new(rules)?);
    pool.insert(hash, &made);
    Ok(made)
}

fn ports(raw: &RawEntry<'_>) -> Result<Option<Ports>, FieldError> {
    let port =
        |value: u32, field| u16::try_from(value).map_err(|_| FieldError::new(field, format!("{value} is above 65535")));
    let (first, end) = (port(raw.port, "port")?, port(raw.end_port, "end_port")?);
    if raw.protocol != 0 {
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

impl Shared for Decoder<'_> {
    fn secret(&mut self, name: &str) -> Arc<SecretCell> {
        self.secrets.cell(name)
    }

    fn regex(&mut self, pattern: &str) -> Result<Arc<Regex>, RegexError> {
        let pool = &mut self.interned.regexes;
        let hash = pool.hash(pattern);
        if let Some(known) = pool.find(hash, |regex| regex.as_str() == pattern) {
            return Ok(known);
        }
        let regex = Arc::new(Regex::new(pattern)?);
        pool.insert(hash, &regex);
        Ok(regex)
    }

    fn remotes(&mut self, mut remotes: Vec<u32>) -> Arc<Remotes> {
        remotes.sort_unstable();
        remotes.dedup();
        let pool = &mut self.interned.remotes;
        let hash = pool.hash(&remotes[..]);
        pool.find(hash, |known| known.as_slice() == remotes).unwrap_or_else(|| {
            let made = Arc::new(Remotes::new(remotes));
            pool.insert(hash, &made);
            made
        })
    }

    fn downstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext> {
        self.interned.downstream.share(context)
    }

    fn upstream_tls(&mut self, context: TlsContext) -> Arc<TlsContext> {
        self.interned.upstream.share(context)
    }
}
