//! Messages as metadata: operations per resource, such as a table or a collection.

use std::collections::BTreeMap;

use cilium_policy::{Metadata, Value};

use crate::parser::Context;
use crate::record::L7;
use crate::request::{Decision, Request};

/// Operations per resource.
pub(crate) type Resources = BTreeMap<String, Vec<String>>;

/// Adds operations on a resource, each once.
pub(crate) fn add(resources: &mut Resources, name: String, operations: &[&str]) {
    let known = resources.entry(name).or_default();
    for operation in operations {
        if !known.iter().any(|known| known == operation) {
            known.push((*operation).to_owned());
        }
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
    let describe = |(name, operations): (&String, &Vec<String>)| format!("{name}: {}", operations.join(" "));
    let text = resources.iter().map(describe).collect::<Vec<_>>().join(", ");
    // Each resource is decided on alone: one that is allowed must not carry another along.
    let mut decision = Decision::DENIED;
    for (name, operations) in resources {
        let operations = Value::List(operations.into_iter().map(Value::String).collect());
        let metadata = Metadata([(filter.to_owned(), Value::Struct([(name, operations)].into()))].into());
        decision = context.decide(&Request::Metadata(&metadata));
        if !decision.allowed {
            break;
        }
    }
    context.log_decision(&decision, L7::generic(filter, [(field, text)]));
    decision
}
