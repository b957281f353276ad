//! Why a verdict was given: data first, a sentence on demand.

mod code;
mod miss;
mod sentence;

use std::fmt;

pub use code::Code;
pub use miss::Failed;
pub(crate) use miss::{Excerpt, Miss, Nearest};
pub use sentence::Sentence;

use crate::Direction;
use crate::compile::{Origin, PortRule};
use crate::update::EndpointPolicy;

/// Why a verdict was given. Displays as one sentence; made without allocation when the verdict allows.
#[derive(Debug, Clone)]
pub struct Reason<'a> {
    pub(crate) code: Code,
    pub(crate) direction: Direction,
    pub(crate) port: u16,
    pub(crate) policy: &'a EndpointPolicy,
    pub(crate) rule: Option<&'a PortRule>,
    /// The first test that failed, in the rule that came nearest.
    pub(crate) miss: Option<Box<Miss<'a>>>,
}

impl<'a> Reason<'a> {
    /// A token for logs and metrics; the same across releases.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// The kind of the reason.
    #[must_use]
    pub fn kind(&self) -> Code {
        self.code
    }

    /// The name of the rule that decided or, when none did, of the one that came nearest. `None`: there is no such
    /// rule, or it has no name.
    #[must_use]
    pub fn rule(&self) -> Option<&'a str> {
        self.rule.map(|at| &*at.rule.name).filter(|name| !name.is_empty())
    }

    /// Where that rule stands in its resource, for example `ingress_per_port_policies[0].rules[1]`.
    #[must_use]
    pub fn position(&self) -> Option<String> {
        self.rule.and_then(|at| position(self.direction, at.origin))
    }

    /// The resource the policy came from; `None` without a policy.
    #[must_use]
    pub fn resource(&self) -> Option<&'a str> {
        Some(self.policy.resource()).filter(|resource| !resource.is_empty())
    }

    /// The first test that failed in the rule that came nearest; `None` if a rule decided.
    #[must_use]
    pub fn failed(&self) -> Option<Failed> {
        self.miss.as_ref().map(|miss| miss.failed(self.rule))
    }

    /// The destination port in question.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The direction in question.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The sentence, with the endpoint's name where there is no policy that could tell it.
    #[must_use]
    pub fn describe<'r>(&'r self, endpoint: &'r str) -> Sentence<'r> {
        Sentence { reason: self, endpoint: Some(endpoint) }
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Sentence { reason: self, endpoint: None }.fmt(f)
    }
}

/// Where a rule stands in its resource; `None` for one that no resource holds.
pub(crate) fn position(direction: Direction, origin: Origin) -> Option<String> {
    let Origin { entry, rule } = origin;
    (origin != Origin::DEFAULT).then(|| format!("{direction}_per_port_policies[{entry}].rules[{rule}]"))
}
