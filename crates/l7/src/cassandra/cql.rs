//! Action and table of a CQL statement.

/// A statement as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cql {
    pub(crate) action: String,
    pub(crate) target: Target,
    /// `TRUNCATE` without `TABLE`.
    pub(crate) bare_truncate: bool,
}

/// What it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    None,
    Keyspace(String),
    /// Without keyspace: in the current one.
    Table(Option<String>, String),
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// In lower case.
    Word(String),
    /// Between double quotes, as written.
    Quoted(String),
    /// A text between single quotes or double dollars.
    Text,
    Sign(char),
}

/// Splits a statement. `None` if it has comments, or texts without end: what a server makes of those is not guessed.
fn tokens(query: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if ["--", "//", "/*"].iter().any(|comment| rest.starts_with(comment)) {
            return None;
        } else if first == '\'' || first == '"' {
            let (text, after) = quoted(rest, first)?;
            tokens.push(if first == '"' { Token::Quoted(text) } else { Token::Text });
            rest = after;
        } else if let Some(text) = rest.strip_prefix("$$") {
            tokens.push(Token::Text);
            rest = text.split_once("$$")?.1;
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_lowercase()));
            rest = &rest[end..];
        } else {
            tokens.push(Token::Sign(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(tokens)
}

/// The text between quotes, a doubled quote being one of the text, and what follows.
fn quoted(rest: &str, quote: char) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            text.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            text.push(quote);
        } else {
            return Some((text, &rest[at + 1..]));
        }
    }
    None
}

/// A reader of tokens.
struct Words<'a>(&'a [Token]);

impl Words<'_> {
    fn word(&mut self) -> Option<&str> {
        match self.0 {
            [Token::Word(word), rest @ ..] => {
                self.0 = rest;
                Some(word)
            }
            _ => None,
        }
    }

    /// Takes these words, if they come next.
    fn skip(&mut self, words: &[&str]) -> bool {
        let next = |(token, word): (&Token, &&str)| matches!(token, Token::Word(have) if have == word);
        let found = self.0.len() >= words.len() && self.0.iter().zip(words).all(next);
        if found {
            self.0 = &self.0[words.len()..];
        }
        found
    }

    fn name(&mut self) -> Option<String> {
        match self.0 {
            [Token::Word(name) | Token::Quoted(name), rest @ ..] => {
                self.0 = rest;
                Some(name.clone())
            }
            _ => None,
        }
    }

    fn table(&mut self) -> Option<Target> {
        let name = self.name()?;
        if let [Token::Sign('.'), rest @ ..] = self.0 {
            self.0 = rest;
            return Some(Target::Table(Some(name), self.name()?));
        }
        Some(Target::Table(None, name))
    }

    /// The table after the first `FROM`, a word that nothing before it can be.
    fn from(&mut self) -> Option<Target> {
        let at = self.0.iter().position(|token| matches!(token, Token::Word(word) if word == "from"))?;
        self.0 = &self.0[at + 1..];
        self.table()
    }
}

/// Reads a statement; `None` if it is not one that is known.
pub(crate) fn parse(query: &str) -> Option<Cql> {
    let tokens = tokens(query)?;
    let mut words = Words(&tokens);
    let first = words.word()?.to_owned();
    let mut bare_truncate = false;
    let (action, target) = match first.as_str() {
        "select" | "delete" => (first, words.from()?),
        "insert" if words.skip(&["into"]) => (first, words.table()?),
        "update" => (first, words.table()?),
        "use" => (first, Target::Keyspace(words.name()?)),
        "truncate" => {
            // A table may have one of these names.
            let named = words.0.len() > 1 && !matches!(words.0[1], Token::Sign(_));
            bare_truncate = !(named && (words.skip(&["table"]) || words.skip(&["columnfamily"])));
            ("truncate-table".into(), words.table()?)
        }
        "create" | "alter" | "drop" => schema(&first, &mut words)?,
        "grant" | "revoke" => {
            let on = words.0.iter().any(|token| matches!(token, Token::Word(word) if word == "on"));
            (format!("{first}-{}", if on { "permission" } else { "role" }), Target::None)
        }
        "list" => {
            let what = words.word()?;
            let what = if matches!(what, "roles" | "users") { what.to_owned() } else { "permissions".into() };
            (format!("list-{what}"), Target::None)
        }
        _ => return None,
    };
    Some(Cql { action, target, bare_truncate })
}

fn schema(verb: &str, words: &mut Words<'_>) -> Option<(String, Target)> {
    let _ = words.skip(&["or", "replace"]) || words.skip(&["custom"]);
    let what = words.word()?.to_owned();
    let what = match what.as_str() {
        "columnfamily" => "table".to_owned(),
        "schema" => "keyspace".to_owned(),
        "materialized" if words.skip(&["view"]) => "materialized-view".to_owned(),
        what => what.to_owned(),
    };
    let _ = words.skip(&["if", "not", "exists"]) || words.skip(&["if", "exists"]);
    let target = match what.as_str() {
        "table" => words.table()?,
        "keyspace" => Target::Keyspace(words.name()?),
        _ => Target::None,
    };
    Some((format!("{verb}-{what}"), target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(query: &str) -> Option<(String, Target)> {
        parse(query).map(|cql| (cql.action, cql.target))
    }

    fn table(keyspace: &str, name: &str) -> Target {
        Target::Table(Some(keyspace.into()).filter(|name: &String| !name.is_empty()), name.into())
    }

    #[test]
    fn statements_have_action_and_table() {
        for (query, action, expected) in [
            ("SELECT * FROM ks.t", "select", table("ks", "t")),
            ("select a, b from \"Ks\" . \"T\" where x = ' from other.t '", "select", table("Ks", "T")),
            ("DELETE a FROM t WHERE k=1", "delete", table("", "t")),
            ("INSERT INTO ks.t(a) VALUES ($$ from x $$)", "insert", table("ks", "t")),
            ("UPDATE t SET a=1", "update", table("", "t")),
            ("TRUNCATE ks.t", "truncate-table", table("ks", "t")),
            ("TRUNCATE TABLE t", "truncate-table", table("", "t")),
            ("CREATE TABLE IF NOT EXISTS ks.t (a int)", "create-table", table("ks", "t")),
            ("DROP COLUMNFAMILY IF EXISTS t;", "drop-table", table("", "t")),
            ("CREATE KEYSPACE ks WITH x", "create-keyspace", Target::Keyspace("ks".into())),
            ("USE \"Ks\"", "use", Target::Keyspace("Ks".into())),
            ("CREATE CUSTOM INDEX i ON t(a)", "create-index", Target::None),
            ("CREATE MATERIALIZED VIEW v AS SELECT", "create-materialized-view", Target::None),
            ("GRANT SELECT ON t TO r", "grant-permission", Target::None),
            ("LIST ROLES", "list-roles", Target::None),
        ] {
            assert_eq!(target(query), Some((action.to_owned(), expected)), "{query}");
        }
    }

    #[test]
    fn what_is_not_understood_has_none() {
        for query in [
            "",
            "SELECT",
            "SELECT 1",
            "SELECT * FROM /* a */ t",
            "SELECT * FROM t -- x",
            "SELECT 'a FROM t",
            "BEGIN BATCH",
            "'",
        ] {
            assert_eq!(parse(query), None, "{query}");
        }
    }
}
