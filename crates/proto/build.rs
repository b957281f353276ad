//! Compiles `api/` to Rust types and to the descriptor set that the Python package loads.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

/// Where the sources are: the Cilium API and the policy channel, then the Envoy messages they import.
const INCLUDES: [&str; 2] = ["../../api", "subset"];

const FILES: [&str; 13] = [
    "cilium/api/accesslog.proto",
    "cilium/api/bpf_metadata.proto",
    "cilium/api/health_check_sink.proto",
    "cilium/api/l7policy.proto",
    "cilium/api/network_filter.proto",
    "cilium/api/npds.proto",
    "cilium/api/nphds.proto",
    "cilium/api/tls_wrapper.proto",
    "cilium/api/websocket.proto",
    "cilium_proxy/v1/module.proto",
    "cilium_proxy/v1/policy_channel.proto",
    "cilium_proxy/v1/tls.proto",
    "envoy/extensions/transport_sockets/tls/v3/secret.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for include in INCLUDES {
        println!("cargo::rerun-if-changed={include}");
    }
    let descriptors = protox::compile(FILES, INCLUDES)?;

    // Python takes Envoy's own files from the Envoy binary, complete; ours alone go along.
    let mut own = descriptors.clone();
    own.file.retain(|file| file.name().starts_with("cilium"));
    std::fs::write(out.join("descriptors.bin"), own.encode_to_vec())?;

    // A map in order, so that equal rules serialise alike.
    prost_build::Config::new()
        .btree_map([".cilium.L7NetworkPolicyRule.rule"])
        .include_file("messages.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
