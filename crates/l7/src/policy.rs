//! Policies of endpoints as parsers see them, for tests and tools. A proxy has an engine of its own.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::info::ConnectionInfo;
use crate::request::{Decision, Request};
use crate::rules::{CompiledRules, GenericRule, KafkaRule, RuleSet, RulesError, compile_rules, decide};

/// A `cilium.PortNetworkPolicyRule`.
#[derive(Debug, Clone, Default)]
pub struct RuleSpec {
    /// Denies the remotes, whatever other rules say.
    pub deny: bool,
    /// Identities; empty: all.
    pub remotes: Vec<u32>,
    /// `l7_proto`; empty: none.
    pub l7_proto: String,
    /// The L7 part.
    pub l7: L7Spec,
}

/// The `l7` field of a rule.
#[derive(Debug, Clone, Default)]
pub enum L7Spec {
    /// Not set.
    #[default]
    None,
    /// `http_rules`, which no parser takes.
    Http,
    /// `kafka_rules`.
    Kafka(Vec<KafkaRule>),
    /// `l7_rules`.
    Generic {
        /// `l7_allow_rules`
        allow: Vec<GenericRule>,
        /// `l7_deny_rules`
        deny: Vec<GenericRule>,
    },
}

/// A `cilium.PortNetworkPolicy` of TCP.
#[derive(Debug, Clone, Default)]
pub struct PortSpec {
    /// 0: any port.
    pub port: u16,
    /// Empty: everything is allowed.
    pub rules: Vec<RuleSpec>,
}

/// A `cilium.NetworkPolicy`.
#[derive(Debug)]
pub struct EndpointPolicy {
    /// By port; ports whose rules no parser knows are left out, which denies.
    ports: [BTreeMap<u16, Vec<PortRule>>; 2],
}

#[derive(Debug)]
struct PortRule {
    deny: bool,
    remotes: Vec<u32>,
    l7: CompiledRules,
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("port {port}: {detail}")]
pub struct PolicyError {
    port: u16,
    detail: String,
}

impl EndpointPolicy {
    /// Compiles a policy, or refuses all of it.
    pub fn new(ingress: &[PortSpec], egress: &[PortSpec]) -> Result<Self, PolicyError> {
        Ok(Self { ports: [ports(egress)?, ports(ingress)?] })
    }

    /// Decides on a message of a connection: the rules of its port, else those of any port.
    #[must_use]
    pub fn decide(&self, info: &ConnectionInfo, request: &Request<'_>) -> Decision {
        let ports = &self.ports[usize::from(info.ingress)];
        let mut denied = Decision::DENIED;
        for port in [info.port, 0] {
            let Some(rules) = ports.get(&port) else { continue };
            let decision = decide_port(rules, info.remote_id(), request);
            if decision.allowed {
                return decision;
            }
            if denied.rule.is_none() {
                denied = decision;
            }
        }
        denied
    }
}

fn decide_port(rules: &[PortRule], remote: u32, request: &Request<'_>) -> Decision {
    if rules.is_empty() {
        return Decision::ALLOWED;
    }
    let fitting = rules.iter().filter(|rule| rule.remotes.is_empty() || rule.remotes.contains(&remote));
    if fitting.clone().any(|rule| rule.deny) {
        return Decision::DENIED;
    }
    decide(fitting.map(|rule| &rule.l7), request)
}

fn ports(specs: &[PortSpec]) -> Result<BTreeMap<u16, Vec<PortRule>>, PolicyError> {
    let mut ports = BTreeMap::new();
    for spec in specs {
        let error = |detail: &str| PolicyError { port: spec.port, detail: detail.to_owned() };
        let rules = port_rules(spec).map_err(|rules| error(&rules.to_string()))?;
        if specs.iter().filter(|other| other.port == spec.port).count() > 1 {
            return Err(error("it has more than one policy"));
        }
        let mut parsers = spec.rules.iter().map(|rule| &rule.l7_proto).filter(|name| !name.is_empty());
        if let Some(first) = parsers.next()
            && let Some(other) = parsers.find(|name| *name != first)
            && rules.is_some()
        {
            return Err(error(&format!("its rules name two parsers, {first} and {other}")));
        }
        if let Some(rules) = rules {
            ports.insert(spec.port, rules);
        }
    }
    Ok(ports)
}

/// `None` if a rule has an L7 part that is none of the parsers'.
fn port_rules(spec: &PortSpec) -> Result<Option<Vec<PortRule>>, RulesError> {
    let mut rules = Vec::with_capacity(spec.rules.len());
    for rule in &spec.rules {
        let l7 = match &rule.l7 {
            L7Spec::None => RuleSet::Any,
            L7Spec::Http => return Ok(None),
            L7Spec::Kafka(rules) => RuleSet::Kafka(rules),
            L7Spec::Generic { allow, deny } => RuleSet::Generic { allow, deny },
        };
        // Rules on metadata are an engine's.
        let known = crate::registry::PARSERS.contains(&rule.l7_proto.as_str()) && !rule.l7_proto.starts_with("envoy.");
        let none = rule.l7_proto.is_empty() && matches!(l7, RuleSet::Any);
        if !known && !none {
            return Ok(None);
        }
        rules.push(PortRule { deny: rule.deny, remotes: rule.remotes.clone(), l7: compile_rules(&rule.l7_proto, l7)? });
    }
    Ok(Some(rules))
}
