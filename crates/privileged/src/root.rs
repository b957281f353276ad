//! The BPF file system below which maps may be opened.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::sys;

/// Where Cilium mounts it.
pub const DEFAULT: &str = "/sys/fs/bpf";

/// A directory below which clients may have pinned maps opened, for reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfRoot(PathBuf);

/// A root that would allow more than a BPF file system.
#[derive(Debug, thiserror::Error)]
#[error(
    "BPF root {path}: {reason}; give the absolute path of a BPF file system or a directory in one, such as {DEFAULT}"
)]
pub struct BpfRootError {
    path: String,
    reason: &'static str,
}

impl BpfRoot {
    /// The root at `path`, which need not be mounted yet. An error when it is relative, `/`, or holds `..`.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, BpfRootError> {
        let path = path.as_ref();
        let error = |reason| BpfRootError { path: path.display().to_string(), reason };
        if !path.is_absolute() {
            return Err(error("not absolute"));
        }
        let mut names = 0;
        for component in path.components() {
            match component {
                Component::Normal(_) => names += 1,
                Component::RootDir => {}
                _ => return Err(error("has a .. component")),
            }
        }
        if names == 0 { Err(error("is the whole file system")) } else { Ok(BpfRoot(path.components().collect())) }
    }

    /// Opens the map at the absolute `path`.
    ///
    /// `EACCES` when the path is not below this root as written. Symbolic links are followed while they stay below the
    /// root (iproute2 makes such ones) and give `EXDEV` where they leave it; the check and the use are of one
    /// descriptor, so that exchanging a directory in between gains nothing.
    pub(crate) fn open(&self, path: &[u8]) -> Result<sys::ReadableMap, Errno> {
        let relative = self.relative(path).ok_or(Errno::ACCESS)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root: OwnedFd = openat(CWD, &self.0, flags | OFlags::DIRECTORY, Mode::empty())?;
        let pin = openat2(&root, relative, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)?;
        let checked = CString::new(format!("/proc/self/fd/{}", pin.as_raw_fd())).map_err(|_| Errno::INVAL)?;
        sys::ReadableMap::inspect(sys::bpf_open(&checked)?)
    }

    fn relative<'p>(&self, path: &'p [u8]) -> Option<&'p Path> {
        let relative = Path::new(OsStr::from_bytes(path)).strip_prefix(&self.0).ok()?;
        let names_only = relative.components().all(|component| matches!(component, Component::Normal(_)));
        (names_only && relative.components().next().is_some()).then_some(relative)
    }
}

/// The absolute path of the map pinned as `name` the way Cilium does it, below `<root>/tc/globals/`.
#[must_use]
pub fn global_map(root: &Path, name: &str) -> Vec<u8> {
    root.join("tc/globals").join(name).into_os_string().into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absolute_directory_is_a_root() {
        for wrong in ["", "sys/fs/bpf", "/", "/sys/fs/../..", "//"] {
            assert!(BpfRoot::new(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            BpfRoot::new("bpf").unwrap_err().to_string(),
            "BPF root bpf: not absolute; give the absolute path of a BPF file system or a directory in one, such as /sys/fs/bpf"
        );
    }

    #[test]
    fn paths_that_are_not_below_the_root_as_written_are_refused() {
        let root = BpfRoot::new("/sys/fs/bpf/").unwrap();
        for outside in ["/sys/fs/bpf", "/sys/fs/bpf/../kernel", "/sys/fs/bpf2/m", "m", "/sys/fs/bpf/a/../../b", "/"] {
            assert_eq!(root.relative(outside.as_bytes()), None, "{outside}");
        }
        assert_eq!(root.relative(b"/sys/fs/bpf/tc/globals/m"), Some(Path::new("tc/globals/m")));
    }

    #[test]
    fn a_link_that_leaves_the_root_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self/status", directory.path().join("out")).unwrap();
        let root = BpfRoot::new(directory.path()).unwrap();
        let path = directory.path().join("out");
        assert_eq!(root.open(path.as_os_str().as_bytes()).unwrap_err(), Errno::XDEV);
    }

    #[test]
    fn a_file_that_is_no_pinned_map_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "").unwrap();
        let root = BpfRoot::new(directory.path()).unwrap();
        assert!(root.open(path.as_os_str().as_bytes()).is_err());
    }
}
