//! Rules on statements.

use regex::bytes::Regex;

use crate::cassandra::Statement;
use crate::rules::{Fields, regex};

const WITH_TABLE: &[&str] = &[
    "select",
    "delete",
    "insert",
    "update",
    "create-table",
    "drop-table",
    "alter-table",
    "truncate-table",
    "use",
    "create-keyspace",
    "alter-keyspace",
    "drop-keyspace",
];
const WITHOUT_TABLE: &[&str] = &[
    "drop-index",
    "create-index",
    "create-materialized-view",
    "alter-materialized-view",
    "drop-materialized-view",
    "create-role",
    "alter-role",
    "drop-role",
    "grant-role",
    "revoke-role",
    "list-roles",
    "grant-permission",
    "revoke-permission",
    "list-permissions",
    "create-user",
    "alter-user",
    "drop-user",
    "list-users",
    "create-function",
    "drop-function",
    "create-aggregate",
    "drop-aggregate",
    "create-type",
    "alter-type",
    "drop-type",
    "create-trigger",
    "drop-trigger",
];

/// `query_action` is the action, `query_table` a regular expression found in the table.
#[derive(Debug)]
pub(crate) struct StatementRule {
    action: String,
    table: Option<Regex>,
}

impl StatementRule {
    pub(crate) fn compile(mut fields: Fields<'_>) -> Result<Self, String> {
        let action = fields.take("query_action").to_owned();
        let table = fields.take("query_table");
        fields.finish()?;
        if WITHOUT_TABLE.contains(&&*action) && !table.is_empty() {
            return Err(format!("query_action {action:?} is not about a table, so the rule may not name one"));
        }
        if !action.is_empty() && !WITH_TABLE.contains(&&*action) && !WITHOUT_TABLE.contains(&&*action) {
            return Err(format!("unknown query_action {action:?}"));
        }
        Ok(Self { action, table: regex("query_table", table)? })
    }

    /// As in the reference, requests without statement fit, and a table is only looked at if there is one.
    pub(crate) fn allows(&self, statement: &Statement) -> bool {
        statement.action.is_empty()
            || (self.action.is_empty() || self.action == statement.action)
                && (statement.table.is_empty() || self.fits(&statement.table))
    }

    pub(crate) fn denies(&self, statement: &Statement) -> bool {
        let any = self.action.is_empty() && self.table.is_none();
        any || !statement.action.is_empty()
            && (self.action.is_empty() || self.action == statement.action)
            && self.fits(&statement.table)
    }

    fn fits(&self, table: &str) -> bool {
        self.table.as_ref().is_none_or(|regex| regex.is_match(table.as_bytes()))
    }
}
