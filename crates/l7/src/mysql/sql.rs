//! Which tables a statement touches, and how.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, Set, Statement, TableObject, visit_relations};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

/// A statement, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// Operations per `table.database`, or `table` if the database is not known.
    pub(crate) tables: BTreeMap<String, Vec<String>>,
    /// The database that a `USE` chooses.
    pub(crate) uses: Option<String>,
    /// It touches nothing but the session.
    pub(crate) session: bool,
}

/// Deepest nesting.
const DEPTH: usize = 50;

/// Reads a text of statements; `None` if it is not understood.
pub(crate) fn read(sql: &str, database: Option<&str>) -> Option<Vec<Access>> {
    let lower = sql.to_ascii_lowercase();
    // Comments that servers run, and modes that change what a quote means, are read otherwise by the server.
    let changes_quotes = lower.contains("sql_mode")
        && ["backslash", "ansi", "concat", "||", "@"].iter().any(|word| lower.contains(word));
    if lower.contains("/*!") || lower.contains("/*m!") || changes_quotes {
        return None;
    }
    let dialect = MySqlDialect {};
    let statements =
        Parser::new(&dialect).with_recursion_limit(DEPTH).try_with_sql(sql).ok()?.parse_statements().ok()?;
    Some(statements.iter().map(|statement| access(statement, database)).collect())
}

fn resource(name: &ObjectName, database: Option<&str>) -> String {
    let parts: Vec<_> = name
        .0
        .iter()
        .map(|part| part.as_ident().map_or_else(|| part.to_string(), |ident| ident.value.clone()))
        .collect();
    match (parts.as_slice(), database) {
        ([table], Some(database)) => format!("{table}.{database}"),
        ([table], None) => table.clone(),
        ([database, table], _) => format!("{table}.{database}"),
        (parts, _) => parts.join("."),
    }
}

fn access(statement: &Statement, database: Option<&str>) -> Access {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |name: &ObjectName, operation: &str| {
        let operations = tables.entry(resource(name, database)).or_default();
        if !operations.iter().any(|known| known == operation) {
            operations.push(operation.to_owned());
        }
    };
    let operation = operation(statement);
    match statement {
        Statement::Insert(insert) => {
            if let TableObject::TableName(name) = &insert.table {
                add(name, "insert");
            }
            if let Some(source) = &insert.source {
                let _ = visit_relations(source, |name| {
                    add(name, "select");
                    ControlFlow::<()>::Continue(())
                });
            }
        }
        Statement::Drop { names, .. } => names.iter().for_each(|name| add(name, "drop")),
        Statement::Truncate(truncate) => truncate.table_names.iter().for_each(|target| add(&target.name, "truncate")),
        Statement::CreateView(view) => add(&view.name, "create"),
        _ => {}
    }
    if !matches!(statement, Statement::Insert(_)) {
        let _ = visit_relations(statement, |name| {
            add(name, &operation);
            ControlFlow::<()>::Continue(())
        });
    }
    let uses = match statement {
        Statement::Use(chosen) => {
            let text = chosen.to_string();
            text.split_whitespace().next_back().map(|name| name.trim_matches('`').to_owned())
        }
        _ => None,
    };
    let session = tables.is_empty() && is_of_session(statement);
    if tables.is_empty() && !session {
        // What touches no table has a name that no table can have.
        tables.insert("$server".into(), vec![operation]);
    }
    Access { tables, uses, session }
}

fn is_of_session(statement: &Statement) -> bool {
    match statement {
        Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Use(_)
        | Statement::ShowVariables { .. }
        | Statement::ShowStatus { .. } => true,
        Statement::Set(set) => match set {
            Set::SetNames { .. } | Set::SetNamesDefault {} | Set::SetTransaction { .. } => true,
            other => {
                let text = other.to_string().to_ascii_lowercase();
                !text.contains("global") && !text.contains("persist")
            }
        },
        // Such as SELECT 1, SELECT @@version, SELECT DATABASE(); not what reads files, locks or waits.
        Statement::Query(query) => {
            let text = query.to_string().to_ascii_lowercase();
            !["load_file", "sleep", "benchmark", "lock", "into", "@@global"].iter().any(|word| text.contains(word))
        }
        _ => false,
    }
}

/// The first word of the statement, which is what Envoy names it by.
fn operation(statement: &Statement) -> String {
    match statement {
        Statement::Query(_) => "select".into(),
        Statement::Update(_) => "update".into(),
        Statement::Delete(_) => "delete".into(),
        other => {
            let text = other.to_string();
            text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase()
        }
    }
}
