//! Messages as metadata: operations per resource, such as a table or a collection.

use std::collections::BTreeMap;

use cilium_policy::{Metadata, Value};

use crate::parser::Context;
use crate::record::L7;
use crate::request::{Decision, Request};

/// What a message does, by resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resources(BTreeMap<String, Vec<Operation>>);

/// An operation by its names, of which rules may use any; the last is the most exact.
type Operation = Vec<String>;

impl Resources {
    /// One operation with one name.
    pub(crate) fn one(resource: &str, operation: &str) -> Self {
        let mut resources = Self::default();
        resources.add(resource.to_owned(), &[operation]);
        resources
    }

    /// Adds an operation on a resource, unless it is known.
    pub(crate) fn add(&mut self, resource: String, names: &[&str]) {
        let known = self.0.entry(resource).or_default();
        if !known.iter().any(|operation| operation == names) {
            known.push(names.iter().map(|name| (*name).to_owned()).collect());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the access log has it: `resource: operation operation, resource: operation`.
    fn describe(&self) -> String {
        let exact = |operations: &[Operation]| {
            operations.iter().filter_map(|names| names.last()).map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let resources = self.0.iter().map(|(name, operations)| format!("{name}: {}", exact(operations)));
        resources.collect::<Vec<_>>().join(", ")
    }
}

/// Asks the policy for metadata in the form of Envoy's database filters, and writes the record of its answer; `field` is the
/// record's name for the resources.
pub(crate) fn ask(
    context: &mut Context<'_>,
    filter: &'static str,
    field: &'static str,
    resources: Resources,
) -> Decision {
    let text = resources.describe();
    // Each operation is decided on alone: one that is allowed must not carry another along.
    let mut decision = Decision::DENIED;
    let operations = resources.0.into_iter().flat_map(|(resource, operations)| {
        operations
            .into_iter()
            .map(move |names| (resource.clone(), Value::List(names.into_iter().map(Value::String).collect())))
    });
    for operation in operations {
        let metadata = Metadata([(filter.to_owned(), Value::Struct([operation].into()))].into());
        decision = context.decide(&Request::Metadata(&metadata));
        if !decision.allowed {
            break;
        }
    }
    context.log_decision(&decision, L7::generic(filter, [(field, text)]));
    decision
}
