//! Traces as trees of text.

use std::fmt::{self, Display, Formatter};

use crate::compile::Ports;
use crate::explain::{ActionStep, Alternative, Check, Outcome, RuleStep, Stage, Trace};

impl Display for Ports {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self { first: 0, .. } => f.write_str("any"),
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

impl Display for Trace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", if self.allowed { "allowed" } else { "denied" }, self.reason)?;
        write!(f, "endpoint {}", self.endpoint)?;
        if let Some(resource) = &self.resource {
            write!(f, ", resource {resource:?}, endpoint id {}", self.endpoint_id)?;
        }
        writeln!(f)?;
        write!(f, "{} port {}", self.direction, self.port)?;
        match &self.ports {
            None => writeln!(f, ": no rules")?,
            Some(ports) if *ports == self.port.to_string() => writeln!(f)?,
            Some(ports) => writeln!(f, ", rules of port {ports}")?,
        }
        for stage in &self.stages {
            stage.fmt(f)?;
        }
        if let Some(parser) = &self.l7_parser {
            writeln!(f, "payload parser {parser:?}")?;
        }
        for (name, value) in &self.missing {
            writeln!(f, "missing header {name}: {value}")?;
        }
        for (name, value) in &self.rejected {
            writeln!(f, "rejected header {name}: {value}")?;
        }
        Ok(())
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} ({})", self.name, if self.allowed { "allowed" } else { "denied" }, self.code)?;
        self.rules.iter().try_for_each(|rule| rule.fmt(f))
    }
}

impl Display for RuleStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "  {} rule", self.effect)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        if let Some(position) = &self.position {
            write!(f, " at {position}")?;
        }
        if self.precedence != 0 {
            write!(f, ", precedence {}", self.precedence)?;
        }
        writeln!(f, ": {}", self.outcome)?;
        for check in &self.checks {
            writeln!(f, "    {check}")?;
        }
        self.alternatives.iter().try_for_each(|alternative| alternative.fmt(f))
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allows => "allows",
            Self::Denies => "denies",
            Self::Passes => "passes",
            Self::PassesTooLate => "passes too late",
            Self::DoesNotApply => "does not apply",
            Self::PassedOver => "passed over",
            Self::NotReached => "not reached",
        })
    }
}

impl Display for Alternative {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "    {}: {}", self.name, if self.matched { "matches" } else { "does not match" })?;
        for check in &self.checks {
            writeln!(f, "      {check}")?;
        }
        for action in &self.actions {
            writeln!(f, "      {action}")?;
        }
        Ok(())
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { subject, expected, actual, passed } = self;
        write!(f, "{} {subject} ", if *passed { "+" } else { "-" })?;
        match actual {
            Some(actual) => write!(f, "{actual:?}")?,
            None => f.write_str("is missing")?,
        }
        write!(f, ", wanted: {expected}")
    }
}

impl Display for ActionStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { header, expected, outcome, passed } = self;
        write!(f, "{} {header} against {expected}: {outcome}", if *passed { "+" } else { "-" })
    }
}
