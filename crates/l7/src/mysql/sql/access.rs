//! The tables of a statement.

use std::fmt::{self, Write as _};

use sqlparser::ast::{
    AlterTableOperation, CreateTableLikeKind, Insert, ObjectName, ObjectType, RenameTableNameKind, Statement,
    TableObject, Visit,
};

use crate::metadata::Resources;
use crate::mysql::sql::parts::Parts;

/// Stands for what is not a table. No table can have this name.
pub(super) const SERVER: &str = "$server";

/// Collects tables.
struct Collector<'a> {
    database: Option<&'a str>,
    tables: Resources,
}

impl Collector<'_> {
    /// Adds a table. `None` if it is not understood.
    fn add(&mut self, name: &ObjectName, operation: &str) -> Option<()> {
        self.tables.add(resource(name, self.database)?, &[operation]);
        Some(())
    }

    /// Adds the relations of a part. `None` if it is not understood.
    fn visit(&mut self, part: &impl Visit, operation: &str) -> Option<()> {
        let mut parts = Parts::default();
        if part.visit(&mut parts).is_break() {
            return None;
        }
        parts.relations.iter().try_for_each(|name| self.add(name, operation))?;
        if parts.calls {
            self.tables.add(SERVER.into(), &["call"]);
        }
        Some(())
    }

    /// What is not the target is read.
    fn insert(&mut self, insert: &Insert) -> Option<()> {
        let TableObject::TableName(name) = &insert.table else { return None };
        self.add(name, "insert")?;
        if insert.multi_table_insert_type.is_some() || insert.settings.is_some() || insert.output.is_some() {
            return None;
        }
        self.visit(&insert.source, "select")?;
        self.visit(&insert.assignments, "select")?;
        self.visit(&insert.partitioned, "select")?;
        self.visit(&insert.on, "select")?;
        self.visit(&insert.returning, "select")
    }
}

/// Operations per table; `None` if the statement is not understood.
pub(super) fn tables(statement: &Statement, database: Option<&str>) -> Option<Resources> {
    let mut collector = Collector { database, tables: Resources::default() };
    let operation = operation(statement);
    match statement {
        Statement::Insert(insert) => {
            collector.insert(insert)?;
            return Some(collector.tables);
        }
        Statement::Drop { object_type, names, .. } => {
            if !matches!(object_type, ObjectType::Table | ObjectType::View) {
                return Some(Resources::one(SERVER, &operation));
            }
            names.iter().try_for_each(|name| collector.add(name, "drop"))?;
        }
        Statement::Truncate(truncate) => {
            truncate.table_names.iter().try_for_each(|target| collector.add(&target.name, "truncate"))?;
        }
        Statement::CreateView(view) => collector.add(&view.name, "create")?,
        Statement::CreateTable(table) => match &table.like {
            Some(CreateTableLikeKind::Plain(like) | CreateTableLikeKind::Parenthesized(like)) => {
                collector.add(&like.name, "select")?;
            }
            None => {}
        },
        Statement::AlterTable(alter) => {
            for operation in &alter.operations {
                match operation {
                    AlterTableOperation::RenameTable {
                        table_name: RenameTableNameKind::As(name) | RenameTableNameKind::To(name),
                    }
                    | AlterTableOperation::SwapWith { table_name: name } => collector.add(name, "alter")?,
                    _ => {}
                }
            }
        }
        _ => {}
    }
    collector.visit(statement, &operation)?;
    Some(collector.tables)
}

/// `table.database`, or `table` if the database is not known. `None` if it is not certain where one ends.
fn resource(name: &ObjectName, database: Option<&str>) -> Option<String> {
    let parts = name.0.iter().map(|part| part.as_ident().map(|ident| ident.value.as_str()));
    let (database, table) = match parts.collect::<Option<Vec<_>>>()?[..] {
        [table] => (database, table),
        [database, table] => (Some(database), table),
        _ => return None,
    };
    let dotted = database.map(|database| format!("{table}.{database}"));
    (!table.contains('.')).then(|| dotted.unwrap_or_else(|| table.to_owned()))
}

/// The first word of the statement, which is what Envoy names it by.
pub(super) fn operation(statement: &Statement) -> String {
    match statement {
        Statement::Query(_) => "select".into(),
        Statement::Update(_) => "update".into(),
        Statement::Delete(_) => "delete".into(),
        Statement::ExplainTable { .. } => "describe".into(),
        other => FirstWord::of(other),
    }
}

/// Takes the first word that is written, and ends the writing: statements can be long.
#[derive(Default)]
struct FirstWord(String);

impl FirstWord {
    fn of(statement: &Statement) -> String {
        let mut word = Self::default();
        let _ = write!(word, "{statement}");
        word.0
    }
}

impl fmt::Write for FirstWord {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if !c.is_ascii_alphabetic() {
                return Err(fmt::Error);
            }
            self.0.push(c.to_ascii_lowercase());
        }
        Ok(())
    }
}
