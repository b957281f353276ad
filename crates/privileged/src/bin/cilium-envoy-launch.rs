//! Starts Envoy without the supervisor's privileges:
//! `cilium-envoy-launch [options] -- PROGRAM [ARGUMENT...]`, options as in `docs/privileges.md`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use cilium_privileged::launch::{Launch, LaunchError};

fn main() -> ExitCode {
    let error = match Launch::parse(std::env::args_os().skip(1)) {
        Ok(launch) => launch.run(),
        Err(error) => error,
    };
    eprintln!("cilium-envoy-launch: {error}");
    ExitCode::from(match error {
        LaunchError::Usage(_) => 2,
        LaunchError::Start { .. } => 127,
        _ => 126,
    })
}
