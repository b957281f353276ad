//! Why an update was refused.

use std::fmt;

use crate::decode::FieldError;

/// A refused update. Displays as one sentence that names resource, endpoint and field, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    resource: Option<String>,
    endpoint: Option<String>,
    field: Option<String>,
    problem: String,
}

impl Rejected {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { resource: None, endpoint: None, field: None, problem: problem.into() }
    }

    pub(crate) fn resource_problem(resource: &str, problem: impl Into<String>) -> Self {
        Self { resource: Some(resource.to_owned()), ..Self::new(problem) }
    }

    pub(crate) fn field_problem(resource: &str, endpoint: Option<String>, error: FieldError) -> Self {
        Self {
            resource: Some(resource.to_owned()),
            endpoint,
            field: Some(error.path).filter(|path| !path.is_empty()),
            problem: error.problem,
        }
    }

    /// The resource at fault.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Its endpoint: id and addresses.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// The field at fault, from the resource down, for example `ingress_per_port_policies[0].port`.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(resource) = &self.resource {
            write!(f, "resource {resource:?}")?;
            if let Some(endpoint) = &self.endpoint {
                write!(f, " ({endpoint})")?;
            }
            if let Some(field) = &self.field {
                write!(f, ", field {field}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Rejected {}
