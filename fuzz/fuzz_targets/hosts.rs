//! Any bytes as host resources: accepted maps resolve, refused ones say why.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cilium_policy::UpdateKind;
use cilium_policy::hosts::{HostMap, HostUpdate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let update = |kind, upserts| HostUpdate { version: "1", kind, new_stream: false, upserts, removed: &["1"] };
    // policy 2, host_addresses "10.0.0.0/8"
    let known: &[(&str, &[u8])] = &[("2", b"\x08\x02\x12\x0a10.0.0.0/8")];
    let map = HostMap::default().update(&update(UpdateKind::Full, known)).expect("the resource is valid");
    match map.update(&update(UpdateKind::Delta, &[("3", bytes)])) {
        Ok(changed) => {
            let _ = changed.resolve(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)));
            let _ = changed.resolve(IpAddr::V6(Ipv6Addr::LOCALHOST));
        }
        Err(rejected) => assert!(!rejected.to_string().is_empty()),
    }
    assert_eq!(map.resolve(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))), Some(2));
});
