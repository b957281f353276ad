//! The tables of a statement.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AlterTableOperation, CreateTableLikeKind, Expr, Insert, ObjectName, ObjectType, Query, RenameTableNameKind,
    SetExpr, Statement, TableObject, Visit, Visitor,
};

use crate::metadata::Resources;

/// Stands for what is not a table. No table can have this name.
pub(super) const SERVER: &str = "$server";

/// What a part of a statement reads.
#[derive(Default)]
struct Parts {
    relations: Vec<ObjectName>,
    /// It calls a function of a database, or one that reads files.
    calls: bool,
}

impl Visitor for Parts {
    /// The part is not understood.
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if is_plain(&query.body) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relations.push(relation.clone());
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression {
            self.calls |= function.name.0.len() > 1 || function.name.to_string().eq_ignore_ascii_case("load_file");
        }
        ControlFlow::Continue(())
    }
}

/// A body that only selects. A `TABLE` has a name that visitors do not see, and a `WITH` can be ahead of a statement that writes.
fn is_plain(body: &SetExpr) -> bool {
    let mut bodies = vec![body];
    while let Some(body) = bodies.pop() {
        match body {
            // Queries are visited on their own.
            SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Query(_) => {}
            SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_) => {
                return false;
            }
        }
    }
    true
}

/// Collects tables.
struct Collector<'a> {
    database: Option<&'a str>,
    tables: Resources,
}

impl Collector<'_> {
    fn add(&mut self, name: &ObjectName, operation: &str) {
        self.tables.add(resource(name, self.database), &[operation]);
    }

    /// Adds the relations of a part. `None` if it is not understood.
    fn visit(&mut self, part: &impl Visit, operation: &str) -> Option<()> {
        let mut parts = Parts::default();
        if part.visit(&mut parts).is_break() {
            return None;
        }
        parts.relations.iter().for_each(|name| self.add(name, operation));
        if parts.calls {
            self.tables.add(SERVER.into(), &["call"]);
        }
        Some(())
    }

    /// What is not the target is read.
    fn insert(&mut self, insert: &Insert) -> Option<()> {
        let TableObject::TableName(name) = &insert.table else { return None };
        self.add(name, "insert");
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
            for name in names {
                collector.add(name, "drop");
            }
        }
        Statement::Truncate(truncate) => {
            truncate.table_names.iter().for_each(|target| collector.add(&target.name, "truncate"));
        }
        Statement::CreateView(view) => collector.add(&view.name, "create"),
        Statement::CreateTable(table) => match &table.like {
            Some(CreateTableLikeKind::Plain(like) | CreateTableLikeKind::Parenthesized(like)) => {
                collector.add(&like.name, "select");
            }
            None => {}
        },
        Statement::AlterTable(alter) => {
            for operation in &alter.operations {
                match operation {
                    AlterTableOperation::RenameTable {
                        table_name: RenameTableNameKind::As(name) | RenameTableNameKind::To(name),
                    }
                    | AlterTableOperation::SwapWith { table_name: name } => collector.add(name, "alter"),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    collector.visit(statement, &operation)?;
    Some(collector.tables)
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

/// The first word of the statement, which is what Envoy names it by.
pub(super) fn operation(statement: &Statement) -> String {
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
