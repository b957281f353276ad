//! The process that Envoy has for a parent, since Envoy ends with its parent and is to outlive the supervisor.
//!
//! Serves the privileges Envoy gives up, passes signals on, and ends as Envoy ends.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, Resource, Rlimit, Signal, getpid, kill_process, setrlimit};

use crate::capability::{BEHIND_AN_AGENT, Capabilities};
use crate::client::SERVICE_FD_VARIABLE;
use crate::launch::{BECOME, Launch, LaunchError};
use crate::{service, sys};

/// Starts the program and keeps it until it ends; its exit code. Ends by the same signal, if it was one.
pub fn keep(launch: &Launch) -> Result<u8, LaunchError> {
    sys::block_signals(true);
    let status = wait(start(launch)?).map_err(LaunchError::Keep)?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or_else(|| end_by(status.signal())))
}

fn start(launch: &Launch) -> Result<Child, LaunchError> {
    let program = if launch.roots.is_empty() {
        launch.confine()?;
        None
    } else {
        Some(start_service(launch)?)
    };
    let preload = launch.preload.iter().flat_map(|path| [OsStr::new("--preload"), path.as_os_str()]);
    let mut command = Command::new("/proc/self/exe");
    command.env_remove(SERVICE_FD_VARIABLE);
    if let Some(program) = &program {
        command.env(SERVICE_FD_VARIABLE, program.as_raw_fd().to_string());
    }
    command.arg(BECOME).args(preload);
    if launch.keep_low_ports {
        command.arg("--keep-cap-net-bind-service");
    }
    command.arg("--").args(&launch.command);
    command.spawn().map_err(LaunchError::Keep)
}

fn start_service(launch: &Launch) -> Result<OwnedFd, LaunchError> {
    let failed = |errno: Errno| LaunchError::Service(errno.into());
    let missing = Capabilities::of_this_thread().map_err(failed)?.missing(&BEHIND_AN_AGENT);
    if !missing.is_empty() {
        let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
        return Err(LaunchError::Missing(lines.join("\n")));
    }
    let program = service::start(launch.roots.clone()).map_err(LaunchError::Service)?;
    fcntl_setfd(&program, FdFlags::empty()).map_err(failed)?;
    Ok(program)
}

/// Passes signals on until the child ends.
fn wait(mut child: Child) -> std::io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let number = match sys::next_signal() {
            Ok(number) => number,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let signal = Signal::from_named_raw(number).filter(|signal| *signal != Signal::CHILD);
        if let (Some(pid), Some(signal)) = (pid, signal) {
            // It may have ended meanwhile, which the next round finds.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Ends this process by a signal; returns where that cannot be done.
fn end_by(number: Option<i32>) -> u8 {
    // The core that is of interest is not this process's.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    sys::block_signals(false);
    if let Some(signal) = number.and_then(Signal::from_named_raw) {
        sys::default_effect(signal.as_raw());
        let _ = kill_process(getpid(), signal);
    }
    128
}
