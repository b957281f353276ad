//! Runs a command with the privileged service at its side, as the supervisor does:
//! `serve [--root DIRECTORY]... -- COMMAND...`, where `{fd}` in the command is the service's
//! descriptor and `{pid}` this process.
#![forbid(unsafe_code)]

use std::error::Error;
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};

use cilium_privileged::{BpfRoot, SERVICE_FD_VARIABLE, Service};
use rustix::io::FdFlags;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut roots = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--root" => roots.push(BpfRoot::new(arguments.next().ok_or("--root needs a directory")?)?),
            "--" => break,
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    let (service, child) = Service::spawn(roots)?;
    rustix::io::fcntl_setfd(&child, FdFlags::empty())?;
    let number = child.as_raw_fd().to_string();
    let own = std::process::id().to_string();
    let command: Vec<_> = arguments.map(|argument| argument.replace("{fd}", &number).replace("{pid}", &own)).collect();
    let [program, arguments @ ..] = &command[..] else { return Err("no command".into()) };
    let mut started = Command::new(program).args(arguments).env(SERVICE_FD_VARIABLE, number).spawn()?;
    drop(child);
    let status = started.wait()?;
    drop(service);
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(128)).unwrap_or(128)))
}
