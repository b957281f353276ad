//! Lines that are appended to a file, a pipe or a terminal.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

use crate::error::reason;
use crate::target::Outcome;
use crate::target::file::LogFile;

#[derive(Debug)]
pub(crate) struct Lines {
    output: Output,
    /// The last line has no end, because the destination failed within it.
    torn: bool,
}

#[derive(Debug)]
enum Output {
    /// Stays as it is; with its name.
    Descriptor(File, &'static str),
    File(LogFile),
}

impl Lines {
    pub(crate) fn to_descriptor(descriptor: OwnedFd, name: &'static str) -> Self {
        Self { output: Output::Descriptor(descriptor.into(), name), torn: false }
    }

    pub(crate) fn to_file(file: LogFile) -> Self {
        Self { output: Output::File(file), torn: false }
    }

    /// Writes `count` lines, all of them or up to where the destination failed. May block.
    pub(crate) fn write(&mut self, lines: &str, count: usize) -> Outcome {
        if let Output::File(file) = &mut self.output
            && file.refresh()
        {
            self.torn = false;
        }
        let mut written = 0;
        let result = self.end_torn_line().and_then(|()| write_all(self.file(), lines.as_bytes(), &mut written));
        let Err(error) = result else { return Outcome { taken: count, error: None } };
        let written = &lines.as_bytes()[..written];
        self.torn = self.torn || !matches!(written, [] | [.., b'\n']);
        Outcome {
            taken: written.split(|byte| *byte == b'\n').count() - 1,
            error: Some(format!("{}: {}", self.output, reason(&error))),
        }
    }

    /// So that not two halves of different lines become one.
    fn end_torn_line(&mut self) -> io::Result<()> {
        if self.torn {
            write_all(self.file(), b"\n", &mut 0)?;
            self.torn = false;
        }
        Ok(())
    }

    fn file(&self) -> &File {
        match &self.output {
            Output::Descriptor(file, _) => file,
            Output::File(file) => file.file(),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(_, name) => f.write_str(name),
            Self::File(file) => file.path().display().fmt(f),
        }
    }
}

/// Adds to `written` how far it got.
fn write_all(mut file: &File, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match file.write(&bytes[*written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => *written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Whoever shares standard output may have made it non-blocking.
                let _ = poll(&mut [PollFd::new(&file.as_fd(), PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
