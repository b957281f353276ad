//! Which collections a command touches, and how.

use bson::{RawBsonRef, RawDocument};

use crate::metadata::{Resources, add};

/// Deepest nesting that is looked at.
const DEPTH: usize = 60;

/// A command, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) collections: Resources,
    /// It is part of connecting, and touches no data.
    pub(crate) handshake: bool,
}

/// Envoy's name for a command.
fn kind(command: &str) -> Option<&'static str> {
    match command {
        "find" | "aggregate" | "count" | "distinct" | "getMore" | "killCursors" | "listIndexes" | "mapReduce" => {
            Some("query")
        }
        "insert" => Some("insert"),
        "update" | "findAndModify" | "findandmodify" => Some("update"),
        "delete" => Some("delete"),
        _ => None,
    }
}

/// Reads a command; `database` is known from elsewhere in old messages. `None` if it is malformed.
pub(crate) fn command(document: &RawDocument, database: Option<&str>) -> Option<Command> {
    read(document, database, 0)
}

fn read(document: &RawDocument, database: Option<&str>, depth: usize) -> Option<Command> {
    let (name, value) = document.iter().next()?.ok()?;
    let (name, value) = (name.to_string(), value);
    let own = document.get("$db").ok()?.and_then(RawBsonRef::as_str);
    let database = own.or(database)?;
    let mut collections = Resources::new();
    match name.as_str() {
        "hello" | "isMaster" | "ismaster" | "saslStart" | "saslContinue" | "authenticate" | "logout" | "ping"
        | "endSessions" | "buildInfo" | "buildinfo" => return Some(Command { collections, handshake: true }),
        "explain" if depth == 0 => return read(value.as_document()?, Some(database), 1),
        // Old drivers wrap commands to tell which server is to run them.
        "$query" | "query" if depth == 0 && value.as_document().is_some() => {
            return read(value.as_document()?, Some(database), 1);
        }
        "getMore" => {
            let collection = document.get("collection").ok()??.as_str()?;
            add(&mut collections, format!("{database}.{collection}"), &["query", "getMore"]);
        }
        "renameCollection" => {
            for name in [value.as_str()?, document.get("to").ok()??.as_str()?] {
                add(&mut collections, name.to_owned(), &["renameCollection"]);
            }
        }
        "bulkWrite" => {
            for namespace in document.get("nsInfo").ok()??.as_array()? {
                let name = namespace.ok()?.as_document()?.get("ns").ok()??.as_str()?.to_owned();
                add(&mut collections, name, &["insert", "update", "delete", "bulkWrite"]);
            }
        }
        _ => {
            // A command about no collection is about the database.
            let collection = value.as_str().unwrap_or("$cmd");
            let mut operations: Vec<_> = kind(&name).into_iter().collect();
            operations.push(&name);
            add(&mut collections, format!("{database}.{collection}"), &operations);
        }
    }
    // What a view shows, and where a copy goes.
    for (field, operation) in [("viewOn", "query"), ("toCollection", "insert")] {
        if let Some(collection) = document.get(field).ok()? {
            add(&mut collections, format!("{database}.{}", collection.as_str()?), &[operation]);
        }
    }
    if let Some(pipeline) = document.get("pipeline").ok()? {
        stages(pipeline, database, &mut collections, 0)?;
    }
    if let Some(out) = document.get("out").ok()?.filter(|_| name == "mapReduce") {
        target(out, database, &mut collections);
    }
    Some(Command { collections, handshake: false })
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
    for field in document {
        let (name, value) = field.ok()?;
        let from = match name.as_str() {
            "$lookup" | "$graphLookup" => field_of(value, "from")?,
            "$unionWith" if value.as_str().is_some() => Some(value),
            "$unionWith" => field_of(value, "coll")?,
            _ => None,
        };
        if let Some(from) = from {
            // Other databases are named by documents; only servers' own collections are reached so.
            add(collections, format!("{database}.{}", from.as_str()?), &["query", "aggregate"]);
        }
        match name.as_str() {
            "$out" => target(value, database, collections),
            "$merge" => match value.as_document().and_then(|document| document.get("into").ok()?) {
                Some(into) => target(into, database, collections),
                None => target(value, database, collections),
            },
            _ => {}
        }
        stages(value, database, collections, depth + 1)?;
    }
    Some(())
}

/// A field of a value that is a document. `None` if it is malformed.
#[expect(clippy::option_option, reason = "malformed, none, some")]
fn field_of<'a>(value: RawBsonRef<'a>, key: &str) -> Option<Option<RawBsonRef<'a>>> {
    match value.as_document() {
        Some(document) => document.get(key).ok(),
        None => Some(None),
    }
}

/// A collection that is written: by name, or by database and name.
fn target(value: RawBsonRef<'_>, database: &str, collections: &mut Resources) {
    let field = |keys: &[&str]| {
        let document = value.as_document()?;
        keys.iter().find_map(|key| document.get(key).ok()??.as_str())
    };
    let database = field(&["db"]).unwrap_or(database);
    let name = value.as_str().or_else(|| field(&["coll", "replace", "merge", "reduce"]));
    if let Some(name) = name {
        add(collections, format!("{database}.{name}"), &["insert", "update"]);
    }
}
