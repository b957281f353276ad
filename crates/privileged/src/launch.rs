//! What the launcher does to itself before it becomes Envoy, in a process of its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::root::{BpfRoot, BpfRootError};
use crate::sys;

/// The option with which the keeper starts the launcher again, as the process that becomes the program.
pub(crate) const BECOME: &str = "--become";

/// The one capability Envoy may keep.
const LOW_PORTS: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// How a program is to be started.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Keep `CAP_NET_BIND_SERVICE`, if there is one to keep.
    pub keep_low_ports: bool,
    /// Where the service may open BPF maps. None: no service.
    pub roots: Vec<BpfRoot>,
    /// Libraries to preload, before those of the environment.
    pub preload: Vec<PathBuf>,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Become the program in this process; else keep it in another.
    pub becomes: bool,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Wrong arguments.
    #[error("{0}")]
    Usage(String),
    /// A root that would allow more than a BPF file system.
    #[error(transparent)]
    Root(#[from] BpfRootError),
    /// What the service needs; a line for each capability, with the setting that grants it.
    #[error("{0}")]
    Missing(String),
    /// A library that is not there would only be warned about by the loader, and connections would fail later.
    #[error("cannot preload {}: {error}", path.display())]
    Preload {
        /// The library.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The service does not start.
    #[error("cannot start the privileged service: {0}")]
    Service(#[source] std::io::Error),
    /// The process that becomes the program cannot be kept.
    #[error("cannot keep a process: {0}")]
    Keep(#[source] std::io::Error),
    /// No more open files.
    #[error("cannot raise the limit of open files: {0}")]
    Limit(Errno),
    /// A privilege that cannot be given up.
    #[error("cannot {what}: {errno}")]
    Confine {
        /// What failed.
        what: &'static str,
        /// The system's error.
        errno: Errno,
    },
    /// The program itself.
    #[error("cannot start {}: {error}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
}

impl Launch {
    /// Reads the launcher's arguments: options, `--`, program, its arguments.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, LaunchError> {
        let mut launch = Launch::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().ok_or_else(|| LaunchError::Usage(format!("{} needs a value", argument.display())));
            match argument.to_str() {
                Some("--keep-cap-net-bind-service") => launch.keep_low_ports = true,
                Some("--bpf-root") => launch.roots.push(BpfRoot::new(PathBuf::from(value()?))?),
                Some("--preload") => launch.preload.push(value()?.into()),
                Some(BECOME) => launch.becomes = true,
                Some("--") => {
                    launch.command = arguments.collect();
                    break;
                }
                _ => return Err(LaunchError::Usage(format!("unknown argument {}", argument.display()))),
            }
        }
        if launch.command.is_empty() { Err(LaunchError::Usage("no program after --".into())) } else { Ok(launch) }
    }

    /// Gives up the privileges and becomes the program. Returns only when that fails.
    #[must_use = "it returns an error, or not at all"]
    pub fn run(&self) -> LaunchError {
        match self.prepare() {
            Ok(mut command) => {
                let error = command.exec();
                LaunchError::Start { program: command.get_program().into(), error }
            }
            Err(error) => error,
        }
    }

    fn prepare(&self) -> Result<Command, LaunchError> {
        sys::block_signals(false);
        let mut command = self.program()?;
        if !self.preload.is_empty() {
            command.env("LD_PRELOAD", self.preload_value(std::env::var_os("LD_PRELOAD").as_deref())?);
        }
        raise_limit().map_err(LaunchError::Limit)?;
        self.confine()?;
        // Last: a change of credentials would undo it.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| LaunchError::Keep(errno.into()))?;
        Ok(command)
    }

    fn program(&self) -> Result<Command, LaunchError> {
        let [program, arguments @ ..] = &self.command[..] else {
            return Err(LaunchError::Usage("no program".into()));
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::inherit());
        Ok(command)
    }

    fn preload_value(&self, inherited: Option<&OsStr>) -> Result<OsString, LaunchError> {
        let mut value = OsString::new();
        for path in &self.preload {
            check_readable(path).map_err(|error| LaunchError::Preload { path: path.clone(), error })?;
            if !value.is_empty() {
                value.push(":");
            }
            value.push(path);
        }
        if let Some(inherited) = inherited.filter(|inherited| !inherited.is_empty()) {
            value.push(":");
            value.push(inherited);
        }
        Ok(value)
    }

    /// Drops all capabilities, for good: from the bounding set, from all sets of this thread, and `no_new_privs`.
    pub(crate) fn confine(&self) -> Result<(), LaunchError> {
        let failed = |what| move |errno| LaunchError::Confine { what, errno };
        set_no_new_privs(true).map_err(failed("set no_new_privs"))?;
        let before = capabilities(None).map_err(failed("read the capabilities"))?;
        let keep = if self.keep_low_ports { before.permitted & LOW_PORTS } else { CapabilitySet::empty() };
        if before.effective.contains(CapabilitySet::SETPCAP) {
            shrink_bounding_set(keep).map_err(failed("shrink the bounding set"))?;
        }
        clear_ambient_capability_set().map_err(failed("clear the ambient capabilities"))?;
        set_capabilities(None, CapabilitySets { effective: keep, permitted: keep, inheritable: keep })
            .map_err(failed("drop the capabilities"))?;
        if !keep.is_empty() {
            configure_capability_in_ambient_set(keep, true).map_err(failed("keep CAP_NET_BIND_SERVICE"))?;
        }
        let after = capabilities(None).map_err(failed("read the capabilities"))?;
        if after.permitted == keep { Ok(()) } else { Err(failed("drop the capabilities")(Errno::PERM)) }
    }
}

/// Lets the program have as many descriptors as it may: it needs one per connection, and the usual soft limit of 1,024
/// is for programs that use `select`.
fn raise_limit() -> Result<(), Errno> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
}

/// Removes all but `keep`. Without this, a root program would get everything in the set when it starts another.
fn shrink_bounding_set(keep: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !keep.contains(capability) => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
            // The kernel knows no more.
            Err(_) => break,
        }
    }
    Ok(())
}

fn check_readable(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Launch, String> {
        Launch::parse(arguments.iter().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_program_s_arguments_are_not_the_launcher_s() {
        let launch =
            parse(&["--bpf-root", "/sys/fs/bpf", "--keep-cap-net-bind-service", "--", "envoy", "--preload"]).unwrap();
        assert_eq!(
            launch,
            Launch {
                keep_low_ports: true,
                roots: vec![BpfRoot::new("/sys/fs/bpf").unwrap()],
                command: vec!["envoy".into(), "--preload".into()],
                ..Launch::default()
            }
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(parse(&["--what", "--", "envoy"]).unwrap_err(), "unknown argument --what");
        assert_eq!(parse(&["--bpf-root"]).unwrap_err(), "--bpf-root needs a value");
        assert_eq!(parse(&["--"]).unwrap_err(), "no program after --");
        assert!(parse(&["--bpf-root", "bpf", "--", "envoy"]).unwrap_err().starts_with("BPF root bpf: not absolute"));
    }

    #[test]
    fn a_library_that_is_missing_is_an_error() {
        let launch = Launch { preload: vec!["/nonexistent.so".into()], ..Launch::default() };
        assert_eq!(
            launch.preload_value(None).unwrap_err().to_string(),
            "cannot preload /nonexistent.so: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn libraries_of_the_environment_stay_preloaded() {
        let launch = Launch { preload: vec!["/proc/self/exe".into()], ..Launch::default() };
        assert_eq!(launch.preload_value(Some(OsStr::new("/a.so"))).unwrap(), "/proc/self/exe:/a.so");
        assert_eq!(launch.preload_value(Some(OsStr::new(""))).unwrap(), "/proc/self/exe");
    }
}
