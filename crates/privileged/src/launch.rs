//! What the launcher does to itself before it becomes Envoy.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::client::SERVICE_FD_VARIABLE;
use crate::sys;

/// The one capability Envoy may keep.
const LOW_PORTS: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// How a program is to be started.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Keep `CAP_NET_BIND_SERVICE`, if there is one to keep.
    pub keep_low_ports: bool,
    /// The number of the inherited connection to the service.
    pub service: Option<RawFd>,
    /// Libraries to preload, before those of the environment.
    pub preload: Vec<PathBuf>,
    /// The process whose end is to be the program's end.
    pub parent: Option<i32>,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Wrong arguments.
    #[error("{0}")]
    Usage(String),
    /// A library that is not there would only be warned about by the loader, and connections would fail later.
    #[error("cannot preload {}: {error}", path.display())]
    Preload {
        /// The library.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The service's connection is not open.
    #[error("descriptor {fd} of the privileged service: {errno}; was it passed on to this process?")]
    Service {
        /// Its number.
        fd: RawFd,
        /// The system's error.
        errno: Errno,
    },
    /// The supervisor is gone already.
    #[error("the supervisor (process {0}) has ended")]
    Orphan(i32),
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
                Some("--service-fd") => launch.service = Some(number(&argument, &value()?)?),
                Some("--parent-pid") => launch.parent = Some(number(&argument, &value()?)?),
                Some("--preload") => launch.preload.push(value()?.into()),
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
        let mut command = self.program()?;
        if !self.preload.is_empty() {
            command.env("LD_PRELOAD", self.preload_value(std::env::var_os("LD_PRELOAD").as_deref())?);
        }
        command.env_remove(SERVICE_FD_VARIABLE);
        if let Some(fd) = self.service {
            sys::keep_across_exec(fd).map_err(|errno| LaunchError::Service { fd, errno })?;
            command.env(SERVICE_FD_VARIABLE, fd.to_string());
        }
        self.confine()?;
        // Last: a change of credentials would undo it.
        self.follow_parent()?;
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
    fn confine(&self) -> Result<(), LaunchError> {
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

    fn follow_parent(&self) -> Result<(), LaunchError> {
        let Some(parent) = self.parent else { return Ok(()) };
        set_parent_process_death_signal(Some(Signal::TERM))
            .map_err(|errno| LaunchError::Confine { what: "follow the supervisor", errno })?;
        // It may have ended before: then nobody will send the signal.
        if getppid() == Pid::from_raw(parent) { Ok(()) } else { Err(LaunchError::Orphan(parent)) }
    }
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

fn number(option: &OsStr, value: &OsStr) -> Result<i32, LaunchError> {
    let parsed = value.to_str().and_then(|value| value.parse().ok()).filter(|number| *number >= 0);
    parsed.ok_or_else(|| LaunchError::Usage(format!("{} {}: not a number", option.display(), value.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Launch, String> {
        Launch::parse(arguments.iter().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_program_s_arguments_are_not_the_launcher_s() {
        let launch = parse(&["--service-fd", "7", "--keep-cap-net-bind-service", "--", "envoy", "--preload"]).unwrap();
        assert_eq!(
            launch,
            Launch {
                keep_low_ports: true,
                service: Some(7),
                command: vec!["envoy".into(), "--preload".into()],
                ..Launch::default()
            }
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(parse(&["--what", "--", "envoy"]).unwrap_err(), "unknown argument --what");
        assert_eq!(parse(&["--service-fd", "x", "--", "envoy"]).unwrap_err(), "--service-fd x: not a number");
        assert_eq!(parse(&["--service-fd"]).unwrap_err(), "--service-fd needs a value");
        assert_eq!(parse(&["--"]).unwrap_err(), "no program after --");
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
