//! Statements that touch nothing but the session.

use std::ops::ControlFlow;

use sqlparser::ast::{
    ContextModifier, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Set, Statement, Value,
    visit_expressions,
};

/// Character sets of which no character but ASCII's contains a byte of ASCII's. In the others a backslash or a backtick may be half
/// of a character, so that a text ends elsewhere than in UTF-8.
const CHARACTER_SETS: &[&str] = &[
    "ascii", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "greek", "hebrew",
    "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "utf8", "utf8mb3", "utf8mb4",
];

/// SQL modes under which quotes mean what they do by default, and a statement the same.
const MODES: &[&str] = &[
    "",
    "allow_invalid_dates",
    "error_for_division_by_zero",
    "no_auto_create_user",
    "no_auto_value_on_zero",
    "no_dir_in_create",
    "no_engine_substitution",
    "no_unsigned_subtraction",
    "no_zero_date",
    "no_zero_in_date",
    "only_full_group_by",
    "pad_char_to_full_length",
    "strict_all_tables",
    "strict_trans_tables",
    "time_truncate_fractional",
    "traditional",
];

/// Functions that tell about the session or compute, and are not a user's.
const FUNCTIONS: &[&str] = &[
    "abs",
    "coalesce",
    "concat",
    "connection_id",
    "convert_tz",
    "curdate",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "curtime",
    "database",
    "found_rows",
    "greatest",
    "ifnull",
    "last_insert_id",
    "least",
    "localtime",
    "localtimestamp",
    "lower",
    "now",
    "nullif",
    "round",
    "row_count",
    "schema",
    "session_user",
    "system_user",
    "timediff",
    "unix_timestamp",
    "upper",
    "user",
    "utc_date",
    "utc_time",
    "utc_timestamp",
    "uuid",
    "version",
];

/// Numbers of collations whose character set is not one of [`CHARACTER_SETS`] and can hide a backslash: big5, sjis, cp932, gbk,
/// gb18030 and swe7.
pub(crate) fn hides_backslashes(collation: u16) -> bool {
    matches!(collation, 1 | 10 | 13 | 28 | 82 | 84 | 87 | 88 | 95 | 96 | 248..=250)
}

/// After this statement, a server may read the next ones otherwise than they are read here.
pub(super) fn changes_reading(statement: &Statement) -> bool {
    match statement {
        Statement::Set(Set::SetNames { charset_name, .. }) => !is_one_of(&charset_name.value, CHARACTER_SETS),
        Statement::Set(set) => match assignments(set) {
            Some(assignments) => assignments.iter().any(|(name, _, value)| match last(name).as_str() {
                "sql_mode" => !keeps_quotes(value),
                "character_set_client" => !literal(value).is_some_and(|name| is_one_of(name, CHARACTER_SETS)),
                _ => false,
            }),
            None => set.to_string().to_ascii_lowercase().contains("sql_mode"),
        },
        _ => false,
    }
}

/// The statement, which names no table, is only about the session.
pub(super) fn is_of_session(statement: &Statement) -> bool {
    match statement {
        Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Use(_)
        | Statement::ShowVariables { .. }
        | Statement::ShowStatus { .. } => calls_nothing(statement),
        Statement::Set(Set::SetNames { .. } | Set::SetNamesDefault {} | Set::SetTransaction { .. }) => true,
        Statement::Set(set) => {
            let is_own = |(name, scope, _): &(&ObjectName, Option<ContextModifier>, &Expr)| {
                let text = name.to_string().to_ascii_lowercase();
                let other = text.contains("global") || text.contains("persist") || last(name) == "password";
                !other && !matches!(scope, Some(ContextModifier::Global))
            };
            assignments(set).is_some_and(|assignments| assignments.iter().all(is_own)) && calls_nothing(statement)
        }
        // Such as SELECT 1, SELECT @@version, SELECT DATABASE().
        Statement::Query(query) => {
            let text = query.to_string().to_ascii_lowercase();
            !text.contains("into") && !text.contains("@@global") && calls_nothing(statement)
        }
        _ => false,
    }
}

/// It calls no functions other than [`FUNCTIONS`].
fn calls_nothing(statement: &Statement) -> bool {
    let called = visit_expressions(statement, |expression| match expression {
        Expr::Function(function) if !is_one_of(&function.name.to_string(), FUNCTIONS) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    called.is_continue()
}

/// Names, scopes and values; `None` if it is not about variables.
fn assignments(set: &Set) -> Option<Vec<(&ObjectName, Option<ContextModifier>, &Expr)>> {
    match set {
        Set::SingleAssignment { variable, values, scope, .. } => match values.as_slice() {
            [value] => Some(vec![(variable, *scope, value)]),
            _ => None,
        },
        Set::MultipleAssignments { assignments } => {
            Some(assignments.iter().map(|one| (&one.name, one.scope, &one.value)).collect())
        }
        _ => None,
    }
}

/// A SQL mode under which quotes mean what they do by default, or what is added to the session's.
fn keeps_quotes(value: &Expr) -> bool {
    let modes = |value| literal(value).is_some_and(|modes| modes.split(',').all(|mode| is_one_of(mode, MODES)));
    let Expr::Function(function) = value else { return modes(value) };
    let FunctionArguments::List(arguments) = &function.args else { return false };
    function.name.to_string().eq_ignore_ascii_case("concat")
        && arguments.args.iter().all(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => {
                modes(value) || is_one_of(&value.to_string(), &["@@sql_mode", "@@session.sql_mode"])
            }
            _ => false,
        })
}

/// The last part of a variable's name, in lower case and without the signs before it.
fn last(name: &ObjectName) -> String {
    let ident = name.0.last().and_then(|part| part.as_ident());
    ident.map(|ident| ident.value.trim_start_matches('@').to_ascii_lowercase()).unwrap_or_default()
}

/// A text, or a name in place of one.
fn literal(value: &Expr) -> Option<&str> {
    match value {
        Expr::Identifier(name) => Some(&name.value),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn is_one_of(text: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(text.trim()))
}
