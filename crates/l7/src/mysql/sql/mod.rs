//! Which tables a statement touches, and how.
//!
//! What a statement calls is not seen: a stored function or a trigger may touch what the statement does not name.

mod access;
mod parts;
mod session;
mod tokens;

pub(crate) use session::hides_backslashes;
use sqlparser::ast::{ObjectName, Statement, Use};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use crate::metadata::Resources;

/// A statement, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// Operations per `table.database`, or `table` if the database is not known.
    pub(crate) tables: Resources,
    /// The database that a `USE` chooses.
    pub(crate) uses: Option<String>,
    /// It touches nothing but the session.
    pub(crate) session: bool,
}

/// Deepest nesting.
const DEPTH: usize = 50;

/// Reads a text of statements; `None` if it is not understood.
pub(crate) fn read(sql: &str, database: Option<&str>) -> Option<Vec<Access>> {
    if sql.contains("/*") && has_run_comments(&sql.to_ascii_lowercase()) {
        return None;
    }
    let dialect = MySqlDialect {};
    let tokens = tokens::tokens(&dialect, sql)?;
    let mut parser = Parser::new(&dialect).with_recursion_limit(DEPTH).with_tokens_with_locations(tokens);
    let statements = parser.parse_statements().ok()?;
    statements.iter().map(|statement| read_one(statement, database)).collect()
}

/// Whether there are comments that servers run.
fn has_run_comments(lower: &str) -> bool {
    lower.contains("/*!") || lower.contains("/*m!") || lower.contains("/*+") && lower.contains("sql_mode")
}

fn read_one(statement: &Statement, database: Option<&str>) -> Option<Access> {
    if session::changes_reading(statement) {
        return None;
    }
    let uses = match statement {
        Statement::Use(Use::Object(ObjectName(parts))) => match parts.as_slice() {
            [name] => Some(name.as_ident()?.value.clone()),
            _ => return None,
        },
        Statement::Use(_) => return None,
        _ => None,
    };
    let mut tables = access::tables(statement, database)?;
    let session = tables.is_empty() && session::is_of_session(statement);
    if tables.is_empty() && !session {
        // What touches no table has a name that no table can have.
        tables = Resources::one(access::SERVER, &access::operation(statement));
    }
    Some(Access { tables, uses, session })
}
