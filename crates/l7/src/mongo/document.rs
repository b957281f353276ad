//! Which collections a command touches, and how.

use bson::{RawBsonRef, RawDocument};

use crate::metadata::Resources;

/// Deepest nesting that is looked at.
const DEPTH: usize = 60;

/// A command, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) collections: Resources,
    /// It is about the connection or the session, and touches no data.
    pub(crate) session: bool,
}

/// Envoy's name for a command.
fn kind(command: &str) -> Option<&'static str> {
    match command {
        "find" | "aggregate" | "count" | "distinct" | "getMore" | "killCursors" | "listIndexes" | "mapReduce"
        | "mapreduce" => Some("query"),
        "insert" => Some("insert"),
        "update" | "findAndModify" | "findandmodify" => Some("update"),
        "delete" => Some("delete"),
        _ => None,
    }
}

/// A field; servers differ in which of two of one name they take, so there must not be two. The outer `None`: malformed.
#[expect(clippy::option_option, reason = "malformed, none, some")]
fn field<'a>(document: &'a RawDocument, key: &str) -> Option<Option<RawBsonRef<'a>>> {
    let mut found = None;
    for field in document {
        let (name, value) = field.ok()?;
        if name == key && found.replace(value).is_some() {
            return None;
        }
    }
    Some(found)
}

/// The name of a command.
pub(crate) fn name(document: &RawDocument) -> Option<&str> {
    Some(document.iter().next()?.ok()?.0.as_str())
}

/// Reads a command; `database` is known from elsewhere in old messages. `None` if it is malformed.
pub(crate) fn command(document: &RawDocument, database: Option<&str>) -> Option<Command> {
    read(document, database, 0)
}

fn read(document: &RawDocument, database: Option<&str>, depth: usize) -> Option<Command> {
    let name = name(document)?;
    let value = field(document, name)??;
    let own = match field(document, "$db")? {
        Some(own) => Some(own.as_str()?),
        None => None,
    };
    let database = own.or(database)?;
    let mut collections = Resources::default();
    match name {
        "hello" | "isMaster" | "ismaster" | "saslStart" | "saslContinue" | "authenticate" | "logout" | "ping"
        | "endSessions" | "commitTransaction" | "abortTransaction" | "buildInfo" | "buildinfo" => {
            return Some(Command { collections, session: true });
        }
        "explain" if depth == 0 => return read(value.as_document()?, Some(database), 1),
        // Old drivers wrap commands to tell which server is to run them.
        "$query" | "query" if depth == 0 && value.as_document().is_some() => {
            return read(value.as_document()?, Some(database), 1);
        }
        "getMore" => {
            let collection = field(document, "collection")??.as_str()?;
            collections.add(format!("{database}.{collection}"), &["query", "getMore"]);
        }
        "renameCollection" => {
            for name in [value.as_str()?, field(document, "to")??.as_str()?] {
                collections.add(name.to_owned(), &["renameCollection"]);
            }
        }
        "bulkWrite" => {
            let (operations, namespaces) = (field(document, "ops")??, field(document, "nsInfo")??);
            return bulk_write(&documents(operations)?, &documents(namespaces)?);
        }
        _ => {
            // A command about no collection is about the database.
            let collection = value.as_str().unwrap_or("$cmd");
            let removes = name.eq_ignore_ascii_case("findAndModify") && field(document, "remove")?.is_some_and(is_true);
            let kind = if removes { Some("delete") } else { kind(name) };
            let mut names: Vec<_> = kind.into_iter().filter(|kind| *kind != name).collect();
            names.push(name);
            collections.add(format!("{database}.{collection}"), &names);
        }
    }
    // What a view shows, and where a copy goes.
    for (key, operation) in [("viewOn", "query"), ("toCollection", "insert")] {
        if let Some(collection) = field(document, key)? {
            collections.add(format!("{database}.{}", collection.as_str()?), &[operation]);
        }
    }
    if let Some(pipeline) = field(document, "pipeline")? {
        stages(pipeline, database, &mut collections, 0)?;
    }
    if name.eq_ignore_ascii_case("mapReduce")
        && let Some(out) = field(document, "out")?
    {
        target(out, database, &mut collections)?;
    }
    Some(Command { collections, session: false })
}

/// Whether servers take a value for true.
fn is_true(value: RawBsonRef<'_>) -> bool {
    !matches!(value, RawBsonRef::Boolean(false) | RawBsonRef::Null | RawBsonRef::Undefined)
        && value.as_i32() != Some(0)
        && value.as_i64() != Some(0)
        && value.as_f64() != Some(0.0)
}

fn documents(array: RawBsonRef<'_>) -> Option<Vec<&RawDocument>> {
    array.as_array()?.into_iter().map(|value| value.ok()?.as_document()).collect()
}

/// Reads operations on many collections, each of which has a kind and the number of its collection.
pub(crate) fn bulk_write(operations: &[&RawDocument], namespaces: &[&RawDocument]) -> Option<Command> {
    let namespaces = namespaces.iter().map(|namespace| field(namespace, "ns")??.as_str());
    let namespaces: Vec<_> = namespaces.collect::<Option<_>>()?;
    let mut collections = Resources::default();
    for operation in operations {
        let kind = name(operation)?;
        let index = match field(operation, kind)?? {
            RawBsonRef::Int32(index) => usize::try_from(index).ok()?,
            RawBsonRef::Int64(index) => usize::try_from(index).ok()?,
            _ => return None,
        };
        if !matches!(kind, "insert" | "update" | "delete") {
            return None;
        }
        collections.add((*namespaces.get(index)?).to_owned(), &["bulkWrite", kind]);
    }
    (!collections.is_empty()).then_some(Command { collections, session: false })
}

/// Other collections that stages read or write, at any depth.
fn stages(value: RawBsonRef<'_>, database: &str, collections: &mut Resources, depth: usize) -> Option<()> {
    if depth > DEPTH {
        return None;
    }
    if let Some(array) = value.as_array() {
        for value in array {
            stages(value.ok()?, database, collections, depth + 1)?;
        }
    }
    let Some(document) = value.as_document() else { return Some(()) };
    for stage in document {
        let (name, value) = stage.ok()?;
        let of = |key| value.as_document().map_or(Some(None), |document| field(document, key));
        let from = match name.as_str() {
            "$lookup" | "$graphLookup" => of("from")?,
            "$unionWith" if value.as_str().is_some() => Some(value),
            "$unionWith" => of("coll")?,
            _ => None,
        };
        if let Some(from) = from {
            // Other databases are named by documents; only servers' own collections are reached so.
            collections.add(format!("{database}.{}", from.as_str()?), &["query", "aggregate"]);
        }
        match name.as_str() {
            "$out" => target(value, database, collections)?,
            "$merge" => target(of("into")?.unwrap_or(value), database, collections)?,
            _ => {}
        }
        stages(value, database, collections, depth + 1)?;
    }
    Some(())
}

/// A collection that is written: by name, or by database and name. `None` if it is malformed.
fn target(value: RawBsonRef<'_>, database: &str, collections: &mut Resources) -> Option<()> {
    let text = |key| match value.as_document().map_or(Some(None), |document| field(document, key))? {
        Some(text) => text.as_str().map(Some),
        None => Some(None),
    };
    let database = text("db")?.unwrap_or(database);
    let mut names = value.as_str().into_iter().collect::<Vec<_>>();
    for key in ["coll", "replace", "merge", "reduce"] {
        names.extend(text(key)?);
    }
    for name in names {
        for operation in ["insert", "update"] {
            collections.add(format!("{database}.{name}"), &[operation]);
        }
    }
    Some(())
}
