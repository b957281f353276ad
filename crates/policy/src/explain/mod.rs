//! The whole way to a verdict, as data and as text, and the rules of an endpoint as they are evaluated.
//!
//! With the feature `serde` all of it serialises.

mod dump;
mod evaluate;
mod text;

#[cfg(test)]
mod tests;

pub use dump::{Dump, DumpedAction, DumpedHeader, DumpedHttp, DumpedNamed, DumpedRange, DumpedRule};

use crate::Direction;
use crate::headers::HeaderList;
use crate::metadata::Metadata;

/// What to explain: a connection and, if given, a request and metadata on it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The endpoint's address, for messages.
    pub endpoint: &'q str,
    /// Seen from the endpoint.
    pub direction: Direction,
    /// Destination port.
    pub port: u16,
    /// The listener's; 0 if it has none.
    pub proxy_id: u16,
    /// Security identity of the other side.
    pub remote: u32,
    /// Server name; empty if none.
    pub sni: &'q str,
    /// Headers of a request.
    pub headers: Option<&'q HeaderList>,
    /// Dynamic metadata.
    pub metadata: Option<&'q Metadata>,
}

/// A verdict with everything that led to it. Displays as a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Trace {
    /// Whether all stages allow.
    pub allowed: bool,
    /// The sentence of the stage that decided.
    pub reason: String,
    /// Its token.
    pub code: &'static str,
    /// As asked.
    pub endpoint: String,
    /// Resource the policy came from; `None` without a policy.
    pub resource: Option<String>,
    /// Zero without a policy.
    pub endpoint_id: u64,
    /// `ingress` or `egress`.
    pub direction: &'static str,
    /// As asked.
    pub port: u16,
    /// Ports the rules were given for: `80`, `80-90`, `any`; `None`: no rules for the port.
    pub ports: Option<String>,
    /// Connection, then request and metadata if they were given. Evaluation ends with the first that denies.
    pub stages: Vec<Stage>,
    /// Parser for the payload.
    pub l7_parser: Option<String>,
    /// What the request's headers became.
    pub headers: Option<Vec<(String, String)>>,
    /// Expected header values that were missing.
    pub missing: Vec<(String, String)>,
    /// Header values that were refused.
    pub rejected: Vec<(String, String)>,
}

/// One of the questions a verdict consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Stage {
    /// `connection`, `request` or `metadata`.
    pub name: &'static str,
    /// Its verdict.
    pub allowed: bool,
    /// Why, as a token.
    pub code: &'static str,
    /// Why, as a sentence.
    pub reason: String,
    /// All rules of the port, in evaluation order.
    pub rules: Vec<RuleStep>,
}

impl Stage {
    /// The verdict that the steps of the rules amount to. Without rules to ask, the stage's own.
    #[must_use]
    pub fn by_rules(&self) -> bool {
        if self.rules.is_empty() {
            return self.allowed;
        }
        let decided = |outcome| self.rules.iter().any(|step| step.outcome == outcome);
        decided(Outcome::Allows) && !decided(Outcome::Denies)
    }
}

/// What happened to a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RuleStep {
    /// `None`: unnamed.
    pub name: Option<String>,
    /// Where it stands in the resource; `None` if it stands for an entry without rules.
    pub position: Option<String>,
    /// Higher is first.
    pub precedence: u32,
    /// `allow`, `deny` or `pass to N`.
    pub effect: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Tests of the rule itself.
    pub checks: Vec<Check>,
    /// Its HTTP or metadata rules.
    pub alternatives: Vec<Alternative>,
}

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Outcome {
    /// It allows.
    Allows,
    /// It denies.
    Denies,
    /// Evaluation goes on below its tier.
    Passes,
    /// It would pass, but a rule of its precedence allows.
    PassesTooLate,
    /// A test failed.
    DoesNotApply,
    /// A rule before it passed over its tier.
    PassedOver,
    /// The verdict was clear before.
    NotReached,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Check {
    /// `proxy_id`, `remote`, `server_name`, `metadata` or the name of a header.
    pub subject: String,
    /// What the rule asks for.
    pub expected: String,
    /// What there was.
    pub actual: Option<String>,
    /// Whether it fits.
    pub passed: bool,
}

/// One HTTP or metadata rule of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Alternative {
    /// `HTTP rule 0`, `metadata deny rule 1 "name"`.
    pub name: String,
    /// Whether all its tests passed.
    pub matched: bool,
    /// In order; after a failed one nothing is tested.
    pub checks: Vec<Check>,
    /// Comparisons with actions that were made.
    pub actions: Vec<ActionStep>,
}

/// A header comparison with its action.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ActionStep {
    /// Name of the header.
    pub header: String,
    /// What it was compared with; never a secret's value.
    pub expected: String,
    /// What was found and done.
    pub outcome: &'static str,
    /// Whether the rule may still allow.
    pub passed: bool,
}
