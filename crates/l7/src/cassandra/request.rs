//! Statements in the bodies of requests.

use std::collections::{HashMap, HashSet};

use crate::cassandra::Statement;
use crate::cassandra::cql::{self, Target};
use crate::cassandra::envelope::{BATCH, EXECUTE, Header, PREPARE, QUERY, Reader, STARTUP};
use crate::cassandra::streams::Streams;

/// Most prepared statements of a connection; beyond, all are forgotten, and drivers prepare again.
const MAX_PREPARED: usize = 1 << 16;

/// Most requests on one stream without reply. Drivers have one.
const MAX_OWED: u32 = 1024;

/// A statement to run, under each keyspace that may be the current one.
pub(crate) type Run = Vec<Statement>;

/// What a connection has learnt.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) keyspace: Option<String>,
    /// Keyspaces of `USE` statements without reply yet, by stream.
    using: HashMap<[u8; 2], String>,
    /// Statements that are being prepared, by stream.
    preparing: HashMap<[u8; 2], Run>,
    prepared: HashMap<Vec<u8>, Run>,
    /// Streams with statements that may still run, in the keyspace that is current then.
    floating: HashSet<[u8; 2]>,
    streams: Streams,
}

/// What a request runs.
pub(crate) enum Body {
    Statements(Vec<Run>),
    /// A prepared statement that is not known.
    Unknown(Vec<u8>),
    /// No statement.
    None,
}

impl Known {
    pub(crate) fn prepare(&mut self, id: &[u8], run: Run) {
        if self.prepared.len() >= MAX_PREPARED {
            self.prepared.clear();
        }
        self.prepared.insert(id.to_vec(), run);
    }

    /// A statement is being prepared. Where a stream is used again before its reply, which reply is to which statement is not
    /// known: what comes of them must be allowed all of them.
    pub(crate) fn preparing(&mut self, stream: [u8; 2], run: Run) {
        let waiting = self.preparing.entry(stream).or_default();
        waiting.extend(run);
        waiting.dedup();
    }

    /// The reply to this stream may tell something.
    pub(crate) fn waits_for(&self, stream: [u8; 2]) -> bool {
        self.using.contains_key(&stream) || self.preparing.contains_key(&stream)
    }

    /// A reply has come.
    pub(crate) fn answered(&mut self, stream: [u8; 2]) {
        self.streams.answered(stream);
        if self.streams.is_free(stream) {
            self.using.remove(&stream);
            self.preparing.remove(&stream);
            self.floating.remove(&stream);
        }
    }

    /// Learns from a result. `None` if it is malformed.
    pub(crate) fn learn(&mut self, header: &Header, body: &[u8]) -> Option<()> {
        const SET_KEYSPACE: i32 = 3;
        const PREPARED: i32 = 4;
        let mut reader = Reader(body);
        header.skip_extras(&mut reader)?;
        match reader.int()? {
            SET_KEYSPACE if self.using.contains_key(&header.stream) => {
                self.keyspace = Some(reader.string()?.to_owned());
            }
            PREPARED => {
                let id = reader.short_bytes()?;
                if let Some(run) = self.preparing.get(&header.stream) {
                    self.prepare(id, run.clone());
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Reads a statement. `keyspace` is the request's own.
    fn run(&self, query: &str, keyspace: Option<&str>) -> Option<Run> {
        let cql = cql::parse(query)?;
        let action = cql.action;
        let in_current_keyspace = keyspace.is_none() && matches!(cql.target, Target::Table(None, _));
        let statement =
            |table| Statement { action: action.clone(), table, bare_truncate: cql.bare_truncate, in_current_keyspace };
        Some(match cql.target {
            Target::None => vec![statement(String::new())],
            Target::Keyspace(name) => vec![statement(name)],
            Target::Table(Some(keyspace), table) => vec![statement(format!("{keyspace}.{table}"))],
            Target::Table(None, table) => {
                let mut keyspaces: HashSet<&str> = keyspace.into_iter().collect();
                if keyspaces.is_empty() {
                    keyspaces.extend(self.keyspace.as_deref());
                    keyspaces.extend(self.using.values().map(String::as_str));
                }
                if keyspaces.is_empty() {
                    keyspaces.insert("");
                }
                let mut keyspaces: Vec<_> = keyspaces.into_iter().collect();
                keyspaces.sort_unstable();
                keyspaces.into_iter().map(|keyspace| statement(format!("{keyspace}.{table}"))).collect()
            }
        })
    }

    /// Reads a request; `None` if it is malformed or its statement is not understood.
    pub(crate) fn read(&mut self, header: &Header, body: &[u8]) -> Option<Body> {
        let mut reader = Reader(body);
        header.skip_extras(&mut reader)?;
        let body = match header.opcode {
            QUERY => {
                let query = reader.long_string()?;
                let keyspace = if header.version >= 5 { query_keyspace(&mut reader)? } else { None };
                Body::Statements(vec![self.run(query, keyspace)?])
            }
            PREPARE => {
                let query = reader.long_string()?;
                let keyspace =
                    if header.version >= 5 && reader.int()? & 1 != 0 { Some(reader.string()?) } else { None };
                Body::Statements(vec![self.run(query, keyspace)?])
            }
            EXECUTE => {
                let id = reader.short_bytes()?;
                match self.prepared.get(id) {
                    Some(run) => Body::Statements(vec![run.clone()]),
                    None => Body::Unknown(id.to_vec()),
                }
            }
            BATCH => self.batch(header, &mut reader)?,
            _ => Body::None,
        };
        Some(body)
    }

    fn batch(&self, header: &Header, reader: &mut Reader<'_>) -> Option<Body> {
        enum Part<'a> {
            Query(&'a str),
            Prepared(&'a Run),
        }
        reader.byte()?;
        let count = reader.short()?;
        let mut parts = Vec::new();
        for _ in 0..count {
            match reader.byte()? {
                0 => parts.push(Part::Query(reader.long_string()?)),
                1 => {
                    let id = reader.short_bytes()?;
                    match self.prepared.get(id) {
                        Some(run) => parts.push(Part::Prepared(run)),
                        None => return Some(Body::Unknown(id.to_vec())),
                    }
                }
                _ => return None,
            }
            for _ in 0..reader.short()? {
                reader.value()?;
            }
        }
        let keyspace = if header.version >= 5 { batch_keyspace(reader)? } else { None };
        let run = |part: Part<'_>| match part {
            Part::Query(query) => self.run(query, keyspace),
            Part::Prepared(run) => Some(run.clone()),
        };
        parts.into_iter().map(run).collect::<Option<_>>().map(Body::Statements)
    }

    /// Remembers what the reply to an allowed request may tell, which must not be taken for the reply to another.
    pub(crate) fn sent(&mut self, header: &Header, runs: &[Run]) -> Result<(), &'static str> {
        let stream = header.stream;
        if !Streams::is_client(stream) {
            return Err("a request on a stream of the server");
        }
        if header.opcode == STARTUP && !self.streams.are_free() {
            return Err("STARTUP while other replies are owed");
        }
        if self.streams.owed(stream) >= MAX_OWED {
            return Err("too many requests without reply on a stream");
        }
        match (header.opcode, runs.first()) {
            (PREPARE, Some(run)) => self.preparing(stream, run.clone()),
            (_, Some(run)) if run.iter().any(|statement| statement.action == "use") => {
                // The order of their replies does not tell which is in force.
                let chosen = &run[0].table;
                if self.using.values().any(|other| other != chosen) {
                    return Err("USE before the reply to another");
                }
                // A server runs requests side by side: an earlier one may come after this.
                if !self.floating.is_empty() && self.keyspace.as_ref() != Some(chosen) {
                    return Err("USE before the replies to statements that name no keyspace");
                }
                self.using.insert(stream, chosen.clone());
            }
            _ => {}
        }
        if header.opcode != EXECUTE && runs.iter().flatten().any(|statement| statement.in_current_keyspace) {
            self.floating.insert(stream);
        }
        self.streams.sent(stream);
        Ok(())
    }
}

const VALUES: i32 = 0x01;
const PAGE_SIZE: i32 = 0x04;
const PAGING_STATE: i32 = 0x08;
const SERIAL_CONSISTENCY: i32 = 0x10;
const TIMESTAMP: i32 = 0x20;
const NAMES: i32 = 0x40;
const KEYSPACE: i32 = 0x80;

/// The keyspace among the parameters of a query of version 5. `None`: malformed.
#[expect(clippy::option_option, reason = "malformed, none, some")]
fn query_keyspace<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a str>> {
    reader.short()?;
    let flags = reader.int()?;
    if flags & VALUES != 0 {
        for _ in 0..reader.short()? {
            if flags & NAMES != 0 {
                reader.string()?;
            }
            reader.value()?;
        }
    }
    if flags & PAGE_SIZE != 0 {
        reader.int()?;
    }
    if flags & PAGING_STATE != 0 {
        reader.value()?;
    }
    keyspace(reader, flags)
}

#[expect(clippy::option_option, reason = "malformed, none, some")]
fn batch_keyspace<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a str>> {
    reader.short()?;
    let flags = reader.int()?;
    keyspace(reader, flags)
}

#[expect(clippy::option_option, reason = "malformed, none, some")]
fn keyspace<'a>(reader: &mut Reader<'a>, flags: i32) -> Option<Option<&'a str>> {
    if flags & SERIAL_CONSISTENCY != 0 {
        reader.short()?;
    }
    if flags & TIMESTAMP != 0 {
        reader.take(8)?;
    }
    if flags & KEYSPACE == 0 { Some(None) } else { reader.string().map(Some) }
}
