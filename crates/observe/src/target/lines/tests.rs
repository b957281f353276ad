use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use rustix::fs::{FileType, Mode, OFlags};

use super::*;

struct Log {
    directory: tempfile::TempDir,
    reopen: Arc<AtomicBool>,
    lines: Lines,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        let reopen = Arc::new(AtomicBool::new(false));
        let file = LogFile::open(directory.path().join("logs/access.log"), Arc::clone(&reopen)).unwrap();
        Self { directory, reopen, lines: Lines::to_file(file) }
    }

    fn write(&mut self, line: &str) {
        assert_eq!(self.lines.write(line, 1), Outcome { taken: 1, error: None });
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.directory.path().join(from), self.directory.path().join(to)).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.directory.path().join(path)).unwrap()
    }
}

#[test]
fn a_file_is_appended_to() {
    let mut log = Log::new();
    log.write("a\n");
    let mut other =
        Lines::to_file(LogFile::open(log.directory.path().join("logs/access.log"), Arc::default()).unwrap());
    other.write("b\nc\n", 2);
    log.write("d\n");
    assert_eq!(log.read("logs/access.log"), "a\nb\nc\nd\n");
    let mode = fs::metadata(log.directory.path().join("logs/access.log")).unwrap().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let mut log = Log::new();
    log.write("old\n");
    log.rename("logs/access.log", "rotated");
    log.write("new\n");
    assert_eq!((&*log.read("rotated"), &*log.read("logs/access.log")), ("old\n", "new\n"));
}

#[test]
fn a_file_that_another_one_replaced_is_opened_anew() {
    let mut log = Log::new();
    log.write("old\n");
    log.rename("logs/access.log", "rotated");
    fs::write(log.directory.path().join("logs/access.log"), "before\n").unwrap();
    log.write("new\n");
    assert_eq!((&*log.read("rotated"), &*log.read("logs/access.log")), ("old\n", "before\nnew\n"));
}

#[test]
fn a_file_is_opened_anew_when_asked() {
    let mut log = Log::new();
    log.write("old\n");
    log.reopen.store(true, Ordering::Relaxed);
    log.write("new\n");
    assert_eq!(log.read("logs/access.log"), "old\nnew\n");
    assert!(!log.reopen.load(Ordering::Relaxed));
}

#[test]
fn a_file_truncated_in_place_goes_on_at_its_start() {
    let mut log = Log::new();
    log.write("old\n");
    fs::OpenOptions::new().write(true).truncate(true).open(log.directory.path().join("logs/access.log")).unwrap();
    log.write("new\n");
    assert_eq!(log.read("logs/access.log"), "new\n");
}

#[test]
fn the_old_file_is_used_while_the_new_one_cannot_be_opened() {
    let mut log = Log::new();
    log.rename("logs", "moved");
    log.write("a\n");
    fs::create_dir(log.directory.path().join("logs")).unwrap();
    log.write("b\n");
    assert_eq!((&*log.read("moved/access.log"), &*log.read("logs/access.log")), ("a\n", "b\n"));
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let missing = LogFile::open("/nowhere/access.log".into(), Arc::default());
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_full_disk_is_named_and_counted() {
    let mut lines = Lines::to_file(LogFile::open("/dev/full".into(), Arc::default()).unwrap());
    let error = Some("/dev/full: No space left on device".to_owned());
    assert_eq!(lines.write("a\nb\n", 2), Outcome { taken: 0, error });
}

#[test]
fn a_pipe_that_does_not_block_is_waited_for() {
    let (mut reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut lines = Lines::to_descriptor(writer.into(), "standard output");
    let text = "a line\n".repeat(1 << 17);
    let expected = text.clone();
    let consumer = thread::spawn(move || {
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        read
    });
    assert_eq!(lines.write(&text, 1 << 17), Outcome { taken: 1 << 17, error: None });
    drop(lines);
    assert_eq!(consumer.join().unwrap(), expected);
}

#[test]
fn a_reader_that_is_gone_is_an_error() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let error = Some("standard output: Broken pipe".to_owned());
    assert_eq!(Lines::to_descriptor(writer.into(), "standard output").write("a\n", 1), Outcome { taken: 0, error });
}

/// Opens a named pipe for reading, without waiting for a writer.
fn reader(path: &Path) -> File {
    let descriptor = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    rustix::io::ioctl_fionbio(&descriptor, false).unwrap();
    descriptor.into()
}

#[test]
fn a_line_that_was_torn_gets_its_end_before_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let first = reader(&path);
    let mut lines = Lines::to_file(LogFile::open(path.clone(), Arc::default()).unwrap());
    let long = "x".repeat(1 << 20);
    let writing = thread::spawn(move || {
        let outcome = lines.write(&format!("a\n{long}\nb\n"), 3);
        (outcome, lines)
    });
    // Goes away when the writer is within the second line.
    let full = rustix::pipe::fcntl_getpipe_size(&first).unwrap();
    while rustix::io::ioctl_fionread(&first).unwrap() < full as u64 {
        thread::yield_now();
    }
    drop(first);
    let (outcome, mut lines) = writing.join().unwrap();
    assert_eq!((outcome.taken, outcome.error.is_some()), (1, true));

    let mut second = reader(&path);
    let reading = thread::spawn(move || {
        let mut read = String::new();
        second.read_to_string(&mut read).unwrap();
        read
    });
    assert_eq!(lines.write("c\n", 1).taken, 1);
    drop(lines);
    let read = reading.join().unwrap();
    assert!(read.starts_with("a\nxx") && read.ends_with("xx\nc\n"));
}
