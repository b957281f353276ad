//! The protocol between the service and its clients: one `SOCK_SEQPACKET` packet per request and per reply, both in the
//! host's byte order, since they never leave the host. Nothing here allocates or panics.
//!
//! ```text
//! request  version u8 | operation u8 | 0 u16 | sequence u32 | body                 (+ one descriptor where said)
//!   Connect        1  -                        reply: a new connection (descriptor)
//!   OpenMap        2  absolute path            reply: MapInfo 6 x u32, the map opened for reading (descriptor)
//!   LookUp         3  map id u32, key          reply: value
//!   Mark           4  mark u32, + socket       reply: -
//!   Transparent    5  + socket                 reply: -
//! reply    version u8 | operation u8 | 0 u16 | sequence u32 | errno i32 (0: done) | body
//! ```

use rustix::io::Errno;

use crate::sys::MapInfo;

const VERSION: u8 = 1;
const REQUEST_HEADER: usize = 8;
const REPLY_HEADER: usize = 12;
const MAP_INFO: usize = 24;

/// The longest path of a pinned map.
pub const MAX_PATH: usize = 1024;
/// The longest key that can be looked up; Cilium's have 14, 24 and 38 bytes.
pub const MAX_KEY: usize = 64;
/// The longest value that can be looked up; Cilium's have 12, 24 and 56 bytes.
pub const MAX_VALUE: usize = 256;
/// A buffer that holds any request.
pub const MAX_REQUEST: usize = REQUEST_HEADER + MAX_PATH;
/// A buffer that holds any reply.
pub const MAX_REPLY: usize = REPLY_HEADER + MAX_VALUE;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A connection of its own, so that threads do not wait for each other.
    Connect,
    /// Open the pinned map.
    OpenMap(&'a [u8]),
    /// Look a key up in a map opened before.
    LookUp {
        /// [`MapInfo::id`].
        map: u32,
        /// As long as the map's keys.
        key: &'a [u8],
    },
    /// `SO_MARK` on the socket passed along.
    Mark(u32),
    /// `IP_TRANSPARENT` or `IPV6_TRANSPARENT` on the socket passed along.
    Transparent,
}

/// Why a packet is no message: one that its sender should not have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet")]
pub struct Malformed;

impl<'a> Request<'a> {
    /// The operation's number, which the reply repeats.
    #[must_use]
    pub fn operation(&self) -> u8 {
        match self {
            Request::Connect => 1,
            Request::OpenMap(_) => 2,
            Request::LookUp { .. } => 3,
            Request::Mark(_) => 4,
            Request::Transparent => 5,
        }
    }

    /// Writes the request and returns its packet; `Malformed` when a path or key is too long or empty.
    pub fn encode<'b>(&self, sequence: u32, buffer: &'b mut [u8; MAX_REQUEST]) -> Result<&'b [u8], Malformed> {
        let mut writer = Writer::new(buffer);
        writer.put(&[VERSION, self.operation(), 0, 0])?;
        writer.put(&sequence.to_ne_bytes())?;
        match *self {
            Request::Connect | Request::Transparent => {}
            Request::OpenMap(path) => writer.put(valid_path(path)?)?,
            Request::LookUp { map, key } => {
                writer.put(&map.to_ne_bytes())?;
                writer.put(valid_key(key)?)?;
            }
            Request::Mark(mark) => writer.put(&mark.to_ne_bytes())?,
        }
        Ok(writer.finish())
    }

    /// Reads a request packet: its sequence number and what it asks for.
    pub fn decode(packet: &'a [u8]) -> Result<(u32, Self), Malformed> {
        let (header, body) = packet.split_at_checked(REQUEST_HEADER).ok_or(Malformed)?;
        let &[VERSION, operation, 0, 0, s0, s1, s2, s3] = header else { return Err(Malformed) };
        let request = match (operation, body) {
            (1, []) => Request::Connect,
            (2, path) => Request::OpenMap(valid_path(path)?),
            (3, &[m0, m1, m2, m3, ref key @ ..]) => {
                Request::LookUp { map: u32::from_ne_bytes([m0, m1, m2, m3]), key: valid_key(key)? }
            }
            (4, &[m0, m1, m2, m3]) => Request::Mark(u32::from_ne_bytes([m0, m1, m2, m3])),
            (5, []) => Request::Transparent,
            _ => return Err(Malformed),
        };
        Ok((u32::from_ne_bytes([s0, s1, s2, s3]), request))
    }
}

fn valid_path(path: &[u8]) -> Result<&[u8], Malformed> {
    if path.is_empty() || path.len() > MAX_PATH || path.contains(&0) { Err(Malformed) } else { Ok(path) }
}

fn valid_key(key: &[u8]) -> Result<&[u8], Malformed> {
    if key.is_empty() || key.len() > MAX_KEY { Err(Malformed) } else { Ok(key) }
}

/// What the service answers, apart from a descriptor passed along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Done, nothing to say.
    Done,
    /// What map was opened.
    Map(MapInfo),
    /// The value found.
    Value(&'a [u8]),
}

/// Writes the reply to the request with this operation and sequence number.
pub fn encode_reply<'b>(
    operation: u8,
    sequence: u32,
    answer: Result<Answer<'_>, Errno>,
    buffer: &'b mut [u8; MAX_REPLY],
) -> Result<&'b [u8], Malformed> {
    let mut writer = Writer::new(buffer);
    writer.put(&[VERSION, operation, 0, 0])?;
    writer.put(&sequence.to_ne_bytes())?;
    writer.put(&answer.err().map_or(0, Errno::raw_os_error).to_ne_bytes())?;
    match answer {
        Err(_) | Ok(Answer::Done) => {}
        Ok(Answer::Map(info)) => {
            for field in [info.map_type, info.id, info.key_size, info.value_size, info.max_entries, info.flags] {
                writer.put(&field.to_ne_bytes())?;
            }
        }
        Ok(Answer::Value(value)) => writer.put(value)?,
    }
    Ok(writer.finish())
}

/// Reads the reply to `request`: its body, or the errno of what failed.
pub fn decode_reply<'p>(
    packet: &'p [u8],
    request: &Request<'_>,
    sequence: u32,
) -> Result<Result<Answer<'p>, Errno>, Malformed> {
    let (header, body) = packet.split_at_checked(REPLY_HEADER).ok_or(Malformed)?;
    let &[VERSION, operation, 0, 0, s0, s1, s2, s3, e0, e1, e2, e3] = header else { return Err(Malformed) };
    if operation != request.operation() || u32::from_ne_bytes([s0, s1, s2, s3]) != sequence {
        return Err(Malformed);
    }
    match i32::from_ne_bytes([e0, e1, e2, e3]) {
        0 => decode_answer(request, body).map(Ok),
        errno @ 1..4096 if body.is_empty() => Ok(Err(Errno::from_raw_os_error(errno))),
        _ => Err(Malformed),
    }
}

fn decode_answer<'p>(request: &Request<'_>, body: &'p [u8]) -> Result<Answer<'p>, Malformed> {
    match request {
        Request::Connect | Request::Mark(_) | Request::Transparent if body.is_empty() => Ok(Answer::Done),
        Request::OpenMap(_) if body.len() == MAP_INFO => {
            let mut fields = body.chunks_exact(4).filter_map(|field| field.try_into().ok()).map(u32::from_ne_bytes);
            let mut next = || fields.next().ok_or(Malformed);
            Ok(Answer::Map(MapInfo {
                map_type: next()?,
                id: next()?,
                key_size: next()?,
                value_size: next()?,
                max_entries: next()?,
                flags: next()?,
            }))
        }
        Request::LookUp { .. } if !body.is_empty() && body.len() <= MAX_VALUE => Ok(Answer::Value(body)),
        _ => Err(Malformed),
    }
}

struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> Writer<'b> {
    fn new(buffer: &'b mut [u8]) -> Self {
        Writer { buffer, length: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let place = self.buffer.get_mut(self.length..).and_then(|rest| rest.get_mut(..bytes.len())).ok_or(Malformed)?;
        place.copy_from_slice(bytes);
        self.length += bytes.len();
        Ok(())
    }

    fn finish(self) -> &'b [u8] {
        // `put` keeps `length` within the buffer.
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
