//! The parser of one `MySQL` connection.

use std::collections::HashMap;

use crate::metadata::{Resources, ask};
use crate::mysql::NAME;
use crate::mysql::packet::{HEADER, Handshake, change_user, error, handshake, header, lenenc};
use crate::mysql::sql::{self, Access};
use crate::op::{ErrorCode, Op};
use crate::parser::{Context, Parser};
use crate::record::{EntryType, L7};

/// A payload of this length goes on in the next packet.
const CONTINUED: usize = 0xff_ffff;
/// Most prepared statements.
const MAX_PREPARED: usize = 1 << 14;
/// `ER_TABLEACCESS_DENIED_ERROR`
const ACCESS_DENIED: u16 = 1142;
/// `ER_UNKNOWN_COM_ERROR`
const UNKNOWN_COMMAND: u16 = 1047;
/// `ER_PARSE_ERROR`
const NOT_UNDERSTOOD: u16 = 1064;
/// `ER_UNKNOWN_STMT_HANDLER`
const UNKNOWN_STATEMENT: u16 = 1243;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before the client's handshake.
    #[default]
    Handshake,
    /// Until the server accepts the client. The client may send one packet per packet of the server.
    Authentication {
        turn: bool,
    },
    Commands,
    /// TLS, which the policy allowed.
    Opaque,
}

/// What the first packet of a reply tells.
#[derive(Debug, Default)]
enum Awaited {
    #[default]
    Nothing,
    Any,
    /// The database is this if all is well.
    Database(String),
    /// The statement's number.
    Prepared(Vec<Access>),
    /// The client authenticates again.
    User(Option<String>),
}

/// The parser of one connection.
#[derive(Debug, Default)]
pub(crate) struct Mysql {
    phase: Phase,
    database: Option<String>,
    query_attributes: bool,
    secure: bool,
    prepared: HashMap<[u8; 4], Vec<Access>>,
    awaited: Awaited,
    /// The client sends a file.
    file: bool,
}

impl Mysql {
    fn client(&mut self, context: &mut Context<'_>, payload: &[u8], sequence: u8) -> Result<bool, String> {
        match self.phase {
            Phase::Opaque => Ok(true),
            Phase::Handshake => self.handshake(context, payload),
            Phase::Authentication { turn: true } => {
                self.phase = Phase::Authentication { turn: false };
                Ok(true)
            }
            Phase::Authentication { turn: false } => Err("a packet before the server accepts the client".into()),
            Phase::Commands if self.file => {
                self.file = !payload.is_empty();
                Ok(true)
            }
            Phase::Commands if sequence != 0 => Err("a packet that is not a command".into()),
            Phase::Commands => self.command(context, payload),
        }
    }

    fn handshake(&mut self, context: &mut Context<'_>, payload: &[u8]) -> Result<bool, String> {
        match handshake(payload).ok_or("a malformed handshake")? {
            Handshake::Compressed => Err("compression, under which statements cannot be read".into()),
            Handshake::Tls => {
                if !ask(context, NAME, "tables", Resources::one("$tls", "upgrade")).allowed {
                    return Err("TLS, under which statements cannot be read".into());
                }
                self.phase = Phase::Opaque;
                Ok(true)
            }
            Handshake::Plain { database, collation, query_attributes, secure } => {
                check_collation(collation)?;
                self.database = database;
                self.query_attributes = query_attributes;
                self.secure = secure;
                self.phase = Phase::Authentication { turn: false };
                Ok(true)
            }
        }
    }

    /// A command: true to pass it; false if it was answered with an error.
    fn command(&mut self, context: &mut Context<'_>, payload: &[u8]) -> Result<bool, String> {
        const WITHOUT_REPLY: [u8; 3] = [0x01, 0x18, 0x19];
        let (command, body) = payload.split_first().ok_or("an empty command")?;
        if !WITHOUT_REPLY.contains(command) && !matches!(self.awaited, Awaited::Nothing) {
            return Err("a command before the reply to the one before".into());
        }
        let text = || std::str::from_utf8(body).map_err(|_| "a text that is not UTF-8".to_owned());
        let (accesses, awaited) = match command {
            // QUIT, STMT_SEND_LONG_DATA
            0x01 | 0x18 => return Ok(true),
            // STMT_CLOSE
            0x19 => {
                if let Ok(id) = body.try_into() {
                    self.prepared.remove::<[u8; 4]>(&id);
                }
                return Ok(true);
            }
            // STATISTICS, PING, STMT_RESET, SET_OPTION, STMT_FETCH, RESET_CONNECTION
            0x09 | 0x0e | 0x1a | 0x1b | 0x1c | 0x1f => (Vec::new(), Awaited::Any),
            // INIT_DB
            0x02 => (Vec::new(), Awaited::Database(text()?.to_owned())),
            // CHANGE_USER
            0x11 => {
                let change = change_user(body).filter(|_| self.secure).ok_or("a malformed change of user")?;
                check_collation(change.collation)?;
                (Vec::new(), Awaited::User(change.database))
            }
            // QUERY
            0x03 => {
                let Some(query) = self.query(body).and_then(|query| std::str::from_utf8(query).ok()) else {
                    return Ok(refuse(context, NOT_UNDERSTOOD, "42000", "statement with attributes, or not in UTF-8"));
                };
                let Some(accesses) = sql::read(query, self.database.as_deref()) else {
                    return Ok(not_understood(context));
                };
                let uses = accesses.iter().rev().find_map(|access| access.uses.clone());
                if uses.is_some() && accesses.len() > 1 {
                    return Ok(not_understood(context));
                }
                (accesses, uses.map_or(Awaited::Any, Awaited::Database))
            }
            // STMT_PREPARE
            0x16 => {
                let Some(accesses) = sql::read(text()?, self.database.as_deref()) else {
                    return Ok(not_understood(context));
                };
                (accesses.clone(), Awaited::Prepared(accesses))
            }
            // STMT_EXECUTE
            0x17 => {
                let known = body.first_chunk::<4>().and_then(|id| self.prepared.get(id));
                let Some(accesses) = known else {
                    return Ok(refuse(context, UNKNOWN_STATEMENT, "HY000", "unknown prepared statement"));
                };
                (accesses.clone(), Awaited::Any)
            }
            // FIELD_LIST
            0x04 => {
                let table = text()?.split('\0').next().unwrap_or_default().replace('`', "``");
                let Some(accesses) = sql::read(&format!("DESCRIBE `{table}`"), self.database.as_deref()) else {
                    return Ok(not_understood(context));
                };
                (accesses, Awaited::Any)
            }
            other => return Ok(refuse(context, UNKNOWN_COMMAND, "08S01", &format!("command {other:#x} is not known"))),
        };
        for access in accesses {
            if access.session {
                continue;
            }
            let decision = ask(context, NAME, "tables", access.tables);
            if !decision.allowed {
                return Ok(refuse(context, ACCESS_DENIED, "42000", "command denied by policy"));
            }
        }
        self.awaited = awaited;
        Ok(true)
    }

    /// The text of a query, behind its attributes. Attributes themselves are not understood.
    fn query<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        if !self.query_attributes {
            return Some(body);
        }
        let (parameters, rest) = lenenc(body)?;
        let (_sets, rest) = lenenc(rest)?;
        (parameters == 0).then_some(rest)
    }

    fn server(&mut self, head: &[u8]) {
        let (first, more) = (head.first().copied(), head.get(1..).unwrap_or_default());
        match self.phase {
            Phase::Authentication { .. } => match first {
                Some(0) => self.phase = Phase::Commands,
                // After "fast authentication succeeded", the client has nothing to say.
                Some(1) if more.first() == Some(&3) => {}
                _ => self.phase = Phase::Authentication { turn: true },
            },
            Phase::Commands => match std::mem::take(&mut self.awaited) {
                Awaited::Any => self.file = first == Some(0xfb),
                Awaited::Database(name) if first == Some(0) => self.database = Some(name),
                Awaited::User(database) => {
                    self.database = database;
                    self.prepared.clear();
                    self.phase = Phase::Authentication { turn: true };
                    if first == Some(0) {
                        self.phase = Phase::Commands;
                    }
                }
                Awaited::Prepared(accesses) => {
                    if let (Some(0), Some(id)) = (first, more.first_chunk::<4>()) {
                        if self.prepared.len() >= MAX_PREPARED {
                            self.prepared.clear();
                        }
                        self.prepared.insert(*id, accesses);
                    }
                }
                Awaited::Nothing | Awaited::Database(_) => {}
            },
            Phase::Handshake | Phase::Opaque => {}
        }
    }
}

/// Refuses character sets under which statements cannot be read.
fn check_collation(collation: u16) -> Result<(), String> {
    if sql::hides_backslashes(collation) {
        return Err(format!("collation {collation}, under which the ends of texts are not certain"));
    }
    Ok(())
}

fn refuse(context: &mut Context<'_>, code: u16, state: &str, message: &str) -> bool {
    if code != ACCESS_DENIED {
        context.log(EntryType::Denied, L7::generic(NAME, [("error", message.to_owned())]));
    }
    context.inject(true, &error(1, code, state, message));
    false
}

fn not_understood(context: &mut Context<'_>) -> bool {
    refuse(context, NOT_UNDERSTOOD, "42000", "statement that the policy cannot be applied to")
}

impl Parser for Mysql {
    fn on_data(&mut self, context: &mut Context<'_>, reply: bool, _end_stream: bool, data: &[u8]) -> Op {
        if data.is_empty() {
            return Op::Nop;
        }
        if self.phase == Phase::Opaque {
            return Op::Pass(data.len());
        }
        let Some((length, sequence)) = header(data) else { return Op::More(HEADER - data.len()) };
        let frame = HEADER + length;
        let needed = if reply { frame.min(HEADER + 5) } else { frame };
        let Some(payload) = data.get(HEADER..needed) else { return Op::More(needed - data.len()) };
        if reply {
            self.server(payload);
            return Op::Pass(frame);
        }
        if length == CONTINUED && !self.file {
            return context.fail(ErrorCode::InvalidFrameLength, "a command of over 16777214 bytes");
        }
        match self.client(context, payload, sequence) {
            Ok(true) => Op::Pass(frame),
            Ok(false) => Op::Drop(frame),
            Err(reason) => context.fail(ErrorCode::InvalidFrameType, reason),
        }
    }
}
