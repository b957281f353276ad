//! What a part of a statement reads.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, ObjectName, Query, SetExpr, Visitor, With, visit_relations};

/// The tables and calls of a part.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) relations: Vec<ObjectName>,
    /// It calls a function of a database, or one that reads files.
    pub(super) calls: bool,
    /// Names that are queries' here, by the query whose `WITH` gives them.
    queries: Vec<Vec<String>>,
}

impl Visitor for Parts {
    /// The part is not understood.
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.queries.push(query.with.as_ref().map(names).unwrap_or_default());
        if is_plain(&query.body) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let is_query = |name: &Ident| self.queries.iter().flatten().any(|query| *query == name.value);
        // Where a table must be named, and none is meant.
        let is_dual = |name: &Ident| name.quote_style.is_none() && name.value.eq_ignore_ascii_case("dual");
        if !alone(relation).is_some_and(|name| is_query(name) || is_dual(name)) {
            self.relations.push(relation.clone());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression {
            self.calls |= function.name.0.len() > 1 || function.name.to_string().eq_ignore_ascii_case("load_file");
        }
        ControlFlow::Continue(())
    }
}

/// A name without a database.
fn alone(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [name] => name.as_ident(),
        _ => None,
    }
}

/// The names that a `WITH` gives to queries, apart from those which a query ahead of its own uses: there it is a table's.
fn names(with: &With) -> Vec<String> {
    let mut first_use: HashMap<String, usize> = HashMap::new();
    for (index, query) in with.cte_tables.iter().enumerate() {
        let _ = visit_relations(&query.query, |relation| {
            if let Some(name) = alone(relation) {
                first_use.entry(name.value.clone()).or_insert(index);
            }
            ControlFlow::<()>::Continue(())
        });
    }
    let queries = with.cte_tables.iter().enumerate().map(|(index, query)| (index, &query.alias.name.value));
    let is_query = |(index, name): &(usize, &String)| match first_use.get(*name) {
        None => true,
        Some(first) => first > index || with.recursive && first == index,
    };
    queries.filter(is_query).map(|(_, name)| name.clone()).collect()
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
