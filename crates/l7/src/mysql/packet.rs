//! Packets and the client's handshake.

/// Length of a packet's header.
pub(crate) const HEADER: usize = 4;

const CONNECT_WITH_DB: u32 = 1 << 3;
const COMPRESS: u32 = 1 << 5;
const SSL: u32 = 1 << 11;
const PROTOCOL_41: u32 = 1 << 9;
const SECURE_CONNECTION: u32 = 1 << 15;
const AUTH_LENGTH: u32 = 1 << 21;
const ZSTD: u32 = 1 << 26;
const QUERY_ATTRIBUTES: u32 = 1 << 27;

/// The client's side of the handshake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// TLS follows.
    Tls,
    /// Compression was asked for, which hides everything.
    Compressed,
    Plain {
        database: Option<String>,
        collation: u16,
        query_attributes: bool,
        /// Passwords are hashed, and sent with their length.
        secure: bool,
    },
}

/// What `COM_CHANGE_USER` changes besides the user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChangeUser {
    pub(crate) database: Option<String>,
    pub(crate) collation: u16,
}

/// Payload length and sequence number.
pub(crate) fn header(data: &[u8]) -> Option<(usize, u8)> {
    let head = data.first_chunk::<HEADER>()?;
    Some((u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize, head[3]))
}

/// A length-encoded integer, and what follows.
pub(crate) fn lenenc(data: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    let size = match first {
        0..=250 => return Some((usize::from(*first), rest)),
        252 => 2,
        253 => 3,
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(size)?;
    Some((bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)), rest))
}

fn until_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|byte| *byte == 0)?;
    Some((&data[..end], &data[end + 1..]))
}

/// Reads the client's handshake; `None` if it is malformed or older than `MySQL` 4.1.
pub(crate) fn handshake(payload: &[u8]) -> Option<Handshake> {
    let (fixed, rest) = payload.split_first_chunk::<32>()?;
    let capabilities = u32::from_le_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
    let has = |flag| capabilities & flag != 0;
    if !has(PROTOCOL_41) {
        return None;
    }
    if rest.is_empty() && has(SSL) {
        return Some(Handshake::Tls);
    }
    if has(COMPRESS) || has(ZSTD) {
        return Some(Handshake::Compressed);
    }
    let (_user, rest) = until_zero(rest)?;
    let rest = if has(AUTH_LENGTH) {
        let (length, rest) = lenenc(rest)?;
        rest.get(length..)?
    } else if has(SECURE_CONNECTION) {
        let (length, rest) = rest.split_first()?;
        rest.get(usize::from(*length)..)?
    } else {
        until_zero(rest)?.1
    };
    let database = if has(CONNECT_WITH_DB) {
        Some(String::from_utf8(until_zero(rest)?.0.to_vec()).ok()?).filter(|name| !name.is_empty())
    } else {
        None
    };
    Some(Handshake::Plain {
        database,
        collation: fixed[8].into(),
        query_attributes: has(QUERY_ATTRIBUTES),
        secure: has(SECURE_CONNECTION),
    })
}

/// Reads `COM_CHANGE_USER` of a client whose passwords have lengths.
pub(crate) fn change_user(body: &[u8]) -> Option<ChangeUser> {
    let (_user, rest) = until_zero(body)?;
    let (length, rest) = rest.split_first()?;
    let (database, rest) = until_zero(rest.get(usize::from(*length)..)?)?;
    let database = Some(String::from_utf8(database.to_vec()).ok()?).filter(|name| !name.is_empty());
    let collation = rest.first_chunk().map_or(0, |collation| u16::from_le_bytes(*collation));
    Some(ChangeUser { database, collation })
}

/// An error packet.
pub(crate) fn error(sequence: u8, code: u16, state: &str, message: &str) -> Vec<u8> {
    let payload = [&[0xff][..], &code.to_le_bytes(), b"#", state.as_bytes(), message.as_bytes()].concat();
    let length = u32::try_from(payload.len()).unwrap_or_default().to_le_bytes();
    [&length[..3], &[sequence], &payload].concat()
}
