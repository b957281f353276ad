//! Runs `tests/cases/*.json`: what the reference's parsers did, step by step.
//!
//! A case is a list of steps on a fresh instance. `policies` replaces all policies: name, port, rules. `connect` starts a
//! connection. `data` feeds chunks (text, or `hex ` and digits) and says which operations, injected bytes and records come of it.
//! Kafka correlation ids of requests are not compared, and topics in any order.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::sync::Arc;

use cilium_l7::policy::{EndpointPolicy, L7Spec, PortSpec, RuleSpec};
use cilium_l7::{EntryType, FilterResult, GenericRule, Instance, KafkaRule, L7, NewConnection, Op, Record, Seed};
use serde_json::Value;

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    let Some(digits) = text.strip_prefix("hex ") else { return text.as_bytes().to_vec() };
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn number<T: TryFrom<i64>>(value: &Value, otherwise: i64) -> T {
    T::try_from(value.as_i64().unwrap_or(otherwise)).ok().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn rule(value: &Value) -> RuleSpec {
    let l7 = if let Some(rules) = value.get("kafka") {
        let rule = |rule: &Value| KafkaRule {
            api_version: number(&rule["api_version"], 0),
            api_keys: list(&rule["api_keys"]).iter().map(|key| number(key, 0)).collect(),
            client_id: text(&rule["client_id"]),
            topic: text(&rule["topic"]),
        };
        L7Spec::Kafka(list(rules).iter().map(rule).collect())
    } else if let Some(rules) = value.get("allow") {
        let rule = |rule: &Value| GenericRule {
            name: String::new(),
            fields: rule.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        };
        L7Spec::Generic { allow: list(rules).iter().map(rule).collect(), deny: Vec::new() }
    } else {
        L7Spec::None
    };
    RuleSpec {
        deny: value["deny"].as_bool().unwrap_or_default(),
        remotes: list(&value["remotes"]).iter().map(|remote| number(remote, 0)).collect(),
        l7_proto: text(&value["parser"]),
        l7,
    }
}

fn policies(value: &Value) -> HashMap<String, Arc<EndpointPolicy>> {
    let policy = |(name, ports): (&String, &Value)| {
        let port = |(port, rules): (&String, &Value)| PortSpec {
            port: port.parse().unwrap(),
            rules: list(rules).iter().map(rule).collect(),
        };
        let ingress: Vec<_> = ports.as_object().unwrap().iter().map(port).collect();
        (name.clone(), Arc::new(EndpointPolicy::new(&ingress, &[]).unwrap()))
    };
    value.as_object().unwrap().iter().map(policy).collect()
}

fn op(op: Op) -> String {
    format!("{} {}", op.name(), op.code().unwrap().1)
}

fn result(result: FilterResult) -> &'static str {
    match result {
        FilterResult::Ok => "OK",
        FilterResult::PolicyDrop => "POLICY_DROP",
        FilterResult::ParserError => "PARSER_ERROR",
        FilterResult::UnknownParser => "UNKNOWN_PARSER",
        FilterResult::UnknownConnection => "UNKNOWN_CONNECTION",
        FilterResult::InvalidAddress => "INVALID_ADDRESS",
    }
}

fn sorted(value: &Value) -> Vec<String> {
    let mut texts: Vec<_> = list(value).iter().map(text).collect();
    texts.sort();
    texts
}

fn check_record(at: &str, record: &Record, expected: &Value) {
    let entry_type = match record.entry_type {
        EntryType::Request => "Request",
        EntryType::Response => "Response",
        EntryType::Denied => "Denied",
    };
    assert_eq!(entry_type, expected["type"], "{at}");
    match &record.l7 {
        L7::Kafka(entry) => {
            let expected = &expected["kafka"];
            assert_eq!(entry.error_code, number::<i32>(&expected["error_code"], 0), "{at}");
            assert_eq!(entry.api_key, number::<i32>(&expected["api_key"], 0), "{at}");
            assert_eq!(entry.api_version, number::<i32>(&expected["api_version"], 0), "{at}");
            let mut topics = entry.topics.clone();
            topics.sort();
            assert_eq!(topics, sorted(&expected["topics"]), "{at}");
        }
        L7::Generic { proto, fields } => {
            assert_eq!(**proto, expected["proto"], "{at}");
            let wanted = expected["fields"].as_object().unwrap();
            let got: Vec<_> = fields.iter().map(|(name, value)| (name.clone().into_owned(), value.clone())).collect();
            let mut wanted: Vec<_> = wanted.iter().map(|(name, value)| (name.clone(), text(value))).collect();
            wanted.sort();
            assert_eq!(got, wanted, "{at}");
        }
    }
}

fn run_data(at: &str, instance: &mut Instance, step: &Value) {
    let id = number(&step["data"], 0);
    let chunks: Vec<_> = list(&step["chunks"]).iter().map(bytes).collect();
    let chunks: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
    let reply = step["reply"].as_bool().unwrap();
    let outcome = instance.on_data(id, reply, false, &chunks, number(&step["max_ops"], 0));
    let (ops, outcome) = match outcome {
        Ok(outcome) => (outcome.ops, outcome.result),
        Err(error) => (Vec::new(), Err(error)),
    };
    let ops: Vec<_> = ops.into_iter().map(op).collect();
    let wanted: Vec<_> = list(&step["ops"]).iter().map(text).collect();
    assert_eq!(ops, wanted, "{at}: operations");
    assert_eq!(outcome.map_or_else(|error| result(error.result), |()| "OK"), step["result"], "{at}: result");
    assert_eq!(instance.take_injected(id, false), bytes(&step["to_server"]), "{at}: towards the server");
    assert_eq!(instance.take_injected(id, true), bytes(&step["to_client"]), "{at}: towards the client");
    let records = instance.take_log();
    let wanted = list(&step["log"]);
    assert_eq!(records.len(), wanted.len(), "{at}: records {records:?}");
    for ((_, record), expected) in records.iter().zip(wanted) {
        check_record(at, record, expected);
    }
}

fn run_step(at: &str, instance: &mut Instance, step: &Value) {
    if let Some(value) = step.get("policies") {
        instance.set_policies(policies(value));
    } else if let Some(id) = step.get("connect") {
        let id = number(id, 0);
        let identities = list(&step["identities"]);
        let outcome = instance.new_connection(NewConnection {
            id,
            parser: step["parser"].as_str().unwrap(),
            ingress: true,
            identities: (number(&identities[0], 0), number(&identities[1], 0)),
            source: "1.1.1.1:34567",
            destination: step["destination"].as_str().unwrap(),
            policy: step["policy"].as_str().unwrap(),
            inject_limit: number(&step["inject_limit"], 0),
        });
        assert_eq!(outcome.map_or_else(|error| result(error.result), |()| "OK"), step["expect"], "{at}");
        for (prepared, path) in step.get("prepared").and_then(Value::as_object).into_iter().flatten() {
            let seed = Seed::Prepared { id: prepared.as_bytes(), path: path.as_str().unwrap() };
            instance.seed(id, &seed).unwrap();
        }
    } else {
        run_data(at, instance, step);
    }
}

fn run(cases: &str) {
    let cases: Value = serde_json::from_str(cases).unwrap();
    assert!(!list(&cases).is_empty());
    for case in list(&cases) {
        let mut instance = Instance::default();
        for (index, step) in list(&case["steps"]).iter().enumerate() {
            run_step(&format!("{}, step {index}", case["name"]), &mut instance, step);
        }
    }
}

#[test]
fn the_test_parsers_do_as_the_reference() {
    run(include_str!("cases/test.json"));
}

#[test]
fn r2d2_does_as_the_reference() {
    run(include_str!("cases/r2d2.json"));
}

#[test]
fn memcache_does_as_the_reference() {
    run(include_str!("cases/memcache.json"));
}

#[test]
fn kafka_does_as_the_reference() {
    run(include_str!("cases/kafka.json"));
}

#[test]
fn cassandra_does_as_the_reference() {
    run(include_str!("cases/cassandra.json"));
}
