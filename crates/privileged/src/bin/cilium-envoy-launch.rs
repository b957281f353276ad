//! Starts Envoy without the supervisor's privileges, and keeps it:
//! `cilium-envoy-launch [options] -- PROGRAM [ARGUMENT...]`, options as in `docs/privileges.md`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use cilium_privileged::keeper;
use cilium_privileged::launch::{Launch, LaunchError};

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("cilium-envoy-launch: {line}");
            }
            ExitCode::from(match error {
                LaunchError::Usage(_) | LaunchError::Root(_) => 2,
                LaunchError::Start { .. } => 127,
                _ => 126,
            })
        }
    }
}

fn run() -> Result<u8, LaunchError> {
    let launch = Launch::parse(std::env::args_os().skip(1))?;
    if launch.becomes { Err(launch.run()) } else { keeper::keep(&launch) }
}
