//! The policy of one endpoint.

use std::sync::Arc;

use crate::Direction;
use crate::compile::PortTable;
use crate::verdict::PortPolicy;

/// An endpoint's rules, immutable. Equal parts are shared with other endpoints.
#[derive(Debug)]
pub struct EndpointPolicy {
    resource: Box<str>,
    endpoint_id: u64,
    ips: Box<[Box<str>]>,
    ingress: Arc<PortTable>,
    egress: Arc<PortTable>,
    fallback: Option<Fallback>,
}

/// Policies for endpoints without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    DenyAll,
    AllowEgress,
}

/// What the resource of an endpoint holds.
pub(super) struct Parts {
    pub endpoint_id: u64,
    pub ips: Box<[Box<str>]>,
    pub ingress: Arc<PortTable>,
    pub egress: Arc<PortTable>,
}

impl EndpointPolicy {
    pub(super) fn new(resource: &str, parts: Parts) -> Self {
        let Parts { endpoint_id, ips, ingress, egress } = parts;
        Self { resource: resource.into(), endpoint_id, ips, ingress, egress, fallback: None }
    }

    pub(super) fn of_fallback(fallback: Fallback) -> Self {
        Self {
            resource: Box::default(),
            endpoint_id: 0,
            ips: Box::default(),
            ingress: Arc::default(),
            egress: Arc::default(),
            fallback: Some(fallback),
        }
    }

    /// Whether it has these parts.
    pub(super) fn is(&self, parts: &Parts) -> bool {
        self.endpoint_id == parts.endpoint_id
            && self.ips == parts.ips
            && Arc::ptr_eq(&self.ingress, &parts.ingress)
            && Arc::ptr_eq(&self.egress, &parts.egress)
    }

    /// The endpoint's number; 0 for the policies of endpoints without one.
    #[must_use]
    pub fn endpoint_id(&self) -> u64 {
        self.endpoint_id
    }

    /// The resource's name; empty for the policies of endpoints without one.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The endpoint's addresses, as written in the resource.
    pub fn ips(&self) -> impl Iterator<Item = &str> {
        self.ips.iter().map(|ip| &**ip)
    }

    /// The rules for a destination port.
    #[must_use]
    pub fn port(&self, direction: Direction, port: u16) -> PortPolicy<'_> {
        PortPolicy::new(self, direction, port)
    }

    /// The parsers that rules name; each at least once.
    pub fn l7_parsers(&self) -> impl Iterator<Item = &str> {
        let ports = [&self.ingress, &self.egress]
            .into_iter()
            .flat_map(|table| table.ranges.iter().map(|(_, rules)| rules).chain(&table.wildcard));
        ports.flat_map(|rules| &rules.rules).map(|at| &*at.rule.l7_proto).filter(|parser| !parser.is_empty())
    }

    pub(crate) fn table(&self, direction: Direction) -> &PortTable {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    pub(crate) fn fallback(&self) -> Option<Fallback> {
        self.fallback
    }
}
