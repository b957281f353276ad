//! The host of parsers written in Python: one per process, if the proxy is configured to have them.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use cilium_abi::log::{Level, log};
use cilium_parser_host::{Config, Host, Limits, Observer, PREFIX, Source};
use cilium_policy::Snapshot;
use cilium_proto::cilium_proxy::v1::PythonParsers;

static HOST: OnceLock<Host> = OnceLock::new();

/// Lets parsers be run, once they are wanted.
pub(crate) fn configure(parsers: &PythonParsers) {
    let time = parsers.time_limit.as_ref().and_then(|limit| Duration::try_from(*limit).ok());
    let limits = Limits::default();
    let config = Config {
        source: Source::Files {
            library: PathBuf::from(&parsers.library),
            needed: parsers.needed.iter().map(PathBuf::from).collect(),
        },
        program: parsers.program.clone(),
        package: parsers.package.clone(),
        directories: parsers.directories.clone(),
        memory: parsers.memory,
        limits: Limits { time: time.filter(|time| !time.is_zero()).unwrap_or(limits.time), ..limits },
    };
    let _ = HOST.set(Host::new(config, Box::new(Lines)));
}

/// The host of a parser and the parser's name there; `None` for those that are not written in Python.
pub(crate) fn host_of(parser: &str) -> Option<Result<(&'static Host, &str), String>> {
    let name = parser.strip_prefix(PREFIX)?;
    let host = HOST.get().ok_or_else(|| format!("{parser} cannot be run: no directories for Python parsers are set"));
    Some(host.and_then(|host| match host.refusal(name) {
        Some(reason) => Err(format!("{parser}: {reason}")),
        None => Ok((host, name)),
    }))
}

/// Has the parsers loaded that policies name.
pub(crate) fn want(policies: &Snapshot) {
    let Some(host) = HOST.get() else { return };
    for (_, policy) in policies.endpoints() {
        policy.l7_parsers().filter_map(|parser| parser.strip_prefix(PREFIX)).for_each(|parser| host.want(parser));
    }
}

/// The parsers that were wanted, and what is wrong with them.
pub(crate) fn report() -> Vec<(String, Result<(), String>)> {
    HOST.get().map(Host::report).unwrap_or_default()
}

/// Ends the host's threads.
pub(crate) fn stop() {
    if let Some(host) = HOST.get() {
        host.stop();
    }
}

/// Writes to Envoy's log.
struct Lines;

impl Observer for Lines {
    fn info(&self, message: &str) {
        log(Level::Info, message);
    }

    fn warn(&self, message: &str) {
        log(Level::Warn, message);
    }
}
