//! Where entries go.

mod file;
mod lines;
mod packets;

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) use lines::Lines;
pub(crate) use packets::Packets;

use crate::target::file::LogFile;

/// What became of pieces that were to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How many of them the destination took, from the first on.
    pub(crate) taken: usize,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// Where to write, as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Lines to the standard output of the process.
    Stdout(Form),
    /// Lines to the end of a file. It is opened anew when asked and when the path names another file, so both ways to
    /// rotate a log work: move it away, with or without a signal, or truncate it in place.
    File(PathBuf, Form),
    /// Packets to another receiver's `SOCK_SEQPACKET` socket. It may come and go.
    Socket(PathBuf),
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// [`crate::Compact`].
    Compact,
    /// [`crate::json`].
    Json,
}

#[derive(Debug)]
pub(crate) enum Target {
    Lines(Form, Lines),
    Packets(Packets),
}

impl Target {
    /// Fails when the file cannot be opened. May block: a named pipe that nobody reads is opened when somebody does.
    pub(crate) fn open(destination: Destination, reopen: Arc<AtomicBool>) -> io::Result<Self> {
        Ok(match destination {
            Destination::Stdout(form) => {
                Self::Lines(form, Lines::to_descriptor(io::stdout().as_fd().try_clone_to_owned()?, "standard output"))
            }
            Destination::File(path, form) => Self::Lines(form, Lines::to_file(LogFile::open(path, reopen)?)),
            Destination::Socket(path) => Self::Packets(Packets::new(path)),
        })
    }
}
