//! The socket that the access log is sent to.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::reason;

/// Of the socket: Envoy may run as another user of the same group.
const MODE: u32 = 0o660;

/// Senders that may wait to be accepted.
const BACKLOG: i32 = 128;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// How entries come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `SOCK_SEQPACKET`, one entry per packet.
    Packets,
    /// `SOCK_STREAM`, every entry behind its length as a varint.
    Stream,
}

/// A socket cannot be listened on; the text says why and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}: {reason}", path.display())]
pub struct ListenError {
    path: PathBuf,
    errno: i32,
    reason: String,
}

/// A listening socket. Its path is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode of the path.
    file: (u64, u64),
}

impl ListenError {
    pub(crate) fn new(path: &Path, error: &io::Error) -> Self {
        Self { path: path.to_owned(), errno: error.raw_os_error().unwrap_or_default(), reason: reason(error) }
    }

    /// The system's number of the error.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno
    }
}

impl Listener {
    /// Listens. Replaces a socket that nobody listens on.
    pub(crate) fn bind(path: &Path, transport: Transport) -> Result<Self, ListenError> {
        remove_stale(path).map_err(|errno| {
            let error = ListenError::new(path, &errno.into());
            let fix = match errno {
                Errno::EXIST => "it exists and is not a socket; remove it",
                Errno::ADDRINUSE => "another process does; stop it or use another path",
                _ => return error,
            };
            ListenError { reason: fix.to_owned(), ..error }
        })?;
        Self::listen(path, transport).map_err(|error| ListenError::new(path, &error))
    }

    fn listen(path: &Path, transport: Transport) -> io::Result<Self> {
        let kind = match transport {
            Transport::Packets => SocketType::SEQPACKET,
            Transport::Stream => SocketType::STREAM,
        };
        let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, FLAGS, None)?;
        // The socket's file gets the mode of the socket, so that at no time more may connect than shall.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        let metadata = fs::symlink_metadata(path)?;
        let listener = Self { socket, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) };
        fs::set_permissions(path, PermissionsExt::from_mode(MODE))?;
        rustix::net::listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// The next sender that waits, as a socket that does not block.
    pub(crate) fn accept(&self) -> Result<OwnedFd, Errno> {
        loop {
            match rustix::net::accept_with(&self.socket, FLAGS) {
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                result => return result,
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Another receiver may have taken the path over.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that is left over. `EXIST`: the path is something else; `ADDRINUSE`: somebody listens.
fn remove_stale(path: &Path) -> Result<(), Errno> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => return Err(Errno::EXIST),
        Ok(_) => {}
    }
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => {
            fs::remove_file(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        // Its queue is full, or it is of another type.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(Errno::ADDRINUSE),
        Err(error) => Err(error),
    }
}
