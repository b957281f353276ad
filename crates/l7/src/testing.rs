//! A connection under simple rules, for the tests of parsers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cilium_policy::{GenericRule, KafkaRule, Value};

use crate::connection::{Closed, Connection, Limits, Site};
use crate::info::ConnectionInfo;
use crate::record::{EntryType, KafkaEntry, L7, Record};
use crate::registry::Shared;
use crate::request::{Decision, Request};
use crate::rules::{CompiledRules, RuleSet, RulesError, compile_rules};

/// One connection and what came of it.
pub(crate) struct Harness {
    parser: &'static str,
    connection: Connection,
    rules: CompiledRules,
    /// For parsers with metadata: the only one that is allowed.
    metadata: Option<(String, Vec<String>)>,
    pub(crate) records: Vec<Record>,
}

pub(crate) fn info() -> ConnectionInfo {
    ConnectionInfo::new(true, (1, 2), "1.1.1.1:1000", "2.2.2.2:80", "2.2.2.2").unwrap()
}

fn generic(rules: &[&[(&str, &str)]]) -> Vec<GenericRule> {
    let rule = |fields: &&[(&str, &str)]| GenericRule {
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..GenericRule::default()
    };
    rules.iter().map(rule).collect()
}

/// Compiles a rule that allows.
pub(crate) fn compile(parser: &str, fields: &[(&str, &str)]) -> Result<CompiledRules, RulesError> {
    compile_rules(parser, RuleSet::Generic { allow: &generic(&[fields]), deny: &[] })
}

impl Harness {
    pub(crate) fn new(parser: &'static str, allow: &[&[(&str, &str)]]) -> Self {
        Self::with_rules(parser, compile_rules(parser, RuleSet::Generic { allow: &generic(allow), deny: &[] }).unwrap())
    }

    pub(crate) fn kafka(allow: &[KafkaRule]) -> Self {
        Self::with_rules("kafka", compile_rules("kafka", RuleSet::Kafka(allow)).unwrap())
    }

    /// Allows these operations on a resource, and nothing else.
    pub(crate) fn metadata(parser: &'static str, resource: &str, operations: &[&str]) -> Self {
        let operations = operations.iter().map(|operation| (*operation).to_owned()).collect();
        Self { metadata: Some((resource.to_owned(), operations)), ..Self::with_rules(parser, CompiledRules::default()) }
    }

    pub(crate) fn with_rules(parser: &'static str, rules: CompiledRules) -> Self {
        let connection = Connection::new(parser, info(), &Shared::default(), Limits::default()).unwrap();
        Self { parser, connection, rules, metadata: None, records: Vec::new() }
    }

    /// Replaces the rules.
    pub(crate) fn rules(&mut self, allow: &[&[(&str, &str)]]) {
        self.rules = compile_rules(self.parser, RuleSet::Generic { allow: &generic(allow), deny: &[] }).unwrap();
    }

    /// Replaces all rules by ones that deny.
    pub(crate) fn deny(&mut self, deny: &[&[(&str, &str)]]) {
        self.rules = compile_rules(self.parser, RuleSet::Generic { allow: &[], deny: &generic(deny) }).unwrap();
    }

    pub(crate) fn kafka_rules(&mut self, allow: &[KafkaRule]) {
        self.rules = compile_rules(self.parser, RuleSet::Kafka(allow)).unwrap();
    }

    fn feed(&mut self, reply: bool, data: &[u8]) -> Result<Vec<u8>, Closed> {
        let rules = &self.rules;
        let metadata = &self.metadata;
        let parser = self.parser;
        let policy = |request: &Request<'_>| match (request, metadata) {
            (Request::Metadata(metadata), Some((resource, operations))) => {
                let Some(Value::Struct(resources)) = metadata.0.get(parser) else { return Decision::DENIED };
                let Some(Value::List(asked)) = resources.get(resource) else { return Decision::DENIED };
                // As the rules of policies: one name of several that fits is enough.
                let known = |asked: &Value| operations.iter().any(|known| *asked == Value::String(known.clone()));
                Decision { allowed: asked.iter().any(known), rule: None }
            }
            (request, _) => rules.decide(request),
        };
        let site = Site { policy: &policy, log: &mut self.records };
        Ok(self.connection.on_data(site, reply, false, data)?.bytes(data).to_vec())
    }

    /// Bytes of the client; returns what goes on to the server.
    pub(crate) fn try_client(&mut self, data: &[u8]) -> Result<Vec<u8>, Closed> {
        self.feed(false, data)
    }

    pub(crate) fn client(&mut self, data: &[u8]) -> Vec<u8> {
        self.feed(false, data).unwrap()
    }

    pub(crate) fn try_server(&mut self, data: &[u8]) -> Result<Vec<u8>, Closed> {
        self.feed(true, data)
    }

    /// Bytes of the server; returns what goes on to the client.
    pub(crate) fn server(&mut self, data: &[u8]) -> Vec<u8> {
        self.feed(true, data).unwrap()
    }

    /// What the parser added to the other direction.
    pub(crate) fn reverse(&mut self, reply: bool) -> Vec<u8> {
        self.connection.flush(reply)
    }

    /// How many messages were denied.
    pub(crate) fn denied(&self) -> usize {
        self.records.iter().filter(|record| record.entry_type == EntryType::Denied).count()
    }
}

impl Record {
    pub(crate) fn fields(&self) -> &BTreeMap<Cow<'static, str>, String> {
        let L7::Generic { fields, .. } = &self.l7 else { panic!("a Kafka record") };
        fields
    }

    pub(crate) fn kafka(&self) -> &KafkaEntry {
        let L7::Kafka(entry) = &self.l7 else { panic!("a generic record") };
        entry
    }
}

/// A conversation: bytes of the client and of the server in turn.
pub(crate) type Conversation<'a> = &'a [(bool, Vec<u8>)];

/// Runs a conversation, each part cut as `cuts` says, and returns what reached the server and the client, the records, and why the
/// connection was closed, if it was.
pub(crate) fn transcript(
    harness: &mut Harness,
    conversation: Conversation<'_>,
    cuts: &[usize],
) -> (Vec<u8>, Vec<u8>, Vec<Record>, Option<String>) {
    let mut received = [Vec::new(), Vec::new()];
    let mut closed = None;
    let mut cuts = cuts.iter().cycle();
    'all: for (reply, data) in conversation {
        let mut rest = &data[..];
        while !rest.is_empty() {
            let cut = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
            let (now, later) = rest.split_at(cut);
            rest = later;
            match harness.feed(*reply, now) {
                Ok(bytes) => received[usize::from(*reply)].extend(bytes),
                Err(error) => {
                    closed = Some(error.reason);
                    break 'all;
                }
            }
            let bytes = harness.reverse(!reply);
            received[usize::from(!reply)].extend(bytes);
        }
    }
    let [server, client] = received;
    (server, client, std::mem::take(&mut harness.records), closed)
}
