//! The head of an HTTP message: first line and headers.

use crate::error::Error;
use crate::handshake::LIMIT;

const SEPARATOR: &[u8] = b"\r\n\r\n";
const MAX_HEADERS: usize = 64;

/// First line of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    Request { method: String, path: String },
    Response { status: u16 },
}

/// A parsed head. Header names are lower case, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub(crate) start: Start,
    pub(crate) http_1_1: bool,
    headers: Vec<(String, String)>,
}

impl Head {
    /// A head of our own, as it is sent; for the log.
    pub(crate) fn new(start: Start, headers: Vec<(String, String)>) -> Self {
        Self { start, http_1_1: true, headers }
    }

    /// Parses a request head that ends with an empty line.
    pub(crate) fn request(text: &[u8]) -> Result<Self, Error> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        complete(parsed.parse(text))?;
        let (Some(method), Some(path)) = (parsed.method, parsed.path) else { return Err(Error::HandshakeParseError) };
        let start = Start::Request { method: method.to_owned(), path: path.to_owned() };
        Ok(Self { start, http_1_1: parsed.version == Some(1), headers: owned(parsed.headers)? })
    }

    /// Parses a response head that ends with an empty line.
    pub(crate) fn response(text: &[u8]) -> Result<Self, Error> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        complete(parsed.parse(text))?;
        let Some(status) = parsed.code else { return Err(Error::HandshakeParseError) };
        Ok(Self {
            start: Start::Response { status },
            http_1_1: parsed.version == Some(1),
            headers: owned(parsed.headers)?,
        })
    }

    /// All headers, pseudo headers (`:method`, `:path`, `:authority`, `:status`) first, as the access log wants them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        let pseudo = match &self.start {
            Start::Request { method, path } => vec![(":method", method.clone()), (":path", path.clone())],
            Start::Response { status } => vec![(":status", status.to_string())],
        };
        let rest = self.headers.iter().map(|(name, value)| {
            let name = if name == "host" { ":authority" } else { name.as_str() };
            (name, value.clone())
        });
        pseudo.into_iter().chain(rest)
    }

    /// The value of a header, several joined with commas; `None` when it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect();
        if values.is_empty() { None } else { Some(values.join(",")) }
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// Whether one of the comma-separated tokens of a header is `token`, compared without case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.get(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    }
}

/// Where the head at the front of `data` ends; `None` while it is incomplete.
///
/// `prefix` is what the message must begin with; other bytes are refused without waiting for more.
pub(crate) fn find_end(data: &[u8], prefix: &[u8]) -> Result<Option<usize>, Error> {
    let length = data.len().min(prefix.len());
    if data[..length] != prefix[..length] {
        return Err(Error::HandshakeNotHttp);
    }
    let window = &data[..data.len().min(LIMIT)];
    match window.windows(SEPARATOR.len()).position(|bytes| bytes == SEPARATOR) {
        Some(position) => Ok(Some(position + SEPARATOR.len())),
        None if data.len() > LIMIT => Err(Error::HandshakeTooLarge),
        None => Ok(None),
    }
}

fn complete(status: httparse::Result<usize>) -> Result<(), Error> {
    match status {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) | Err(_) => Err(Error::HandshakeParseError),
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Result<Vec<(String, String)>, Error> {
    headers
        .iter()
        .map(|header| {
            let value = std::str::from_utf8(header.value).map_err(|_| Error::HandshakeParseError)?;
            // An underscore is how one header is passed off as another behind CGI-like servers.
            if header.name.contains('_') {
                return Err(Error::HandshakeParseError);
            }
            Ok((header.name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect()
}
