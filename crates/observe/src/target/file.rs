//! A log file that may be rotated.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const MODE: u32 = 0o640;

#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    /// Somebody asked for it to be opened anew.
    reopen: Arc<AtomicBool>,
}

impl LogFile {
    pub(crate) fn open(path: PathBuf, reopen: Arc<AtomicBool>) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file, reopen })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file as it is.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Opens the path anew if that was asked for, or if it names another file by now; whether it did.
    pub(crate) fn refresh(&mut self) -> bool {
        if !self.reopen.swap(false, Ordering::Relaxed) && !self.moved() {
            return false;
        }
        let opened = open(&self.path);
        let refreshed = opened.is_ok();
        match opened {
            Ok(file) => self.file = file,
            // Entries still reach the old file; the next write tries again.
            Err(_) => self.reopen.store(true, Ordering::Relaxed),
        }
        refreshed
    }

    fn moved(&self) -> bool {
        let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => id(there) != id(ours),
            _ => true,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}
