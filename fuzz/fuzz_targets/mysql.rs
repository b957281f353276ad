#![no_main]

mod conversation;

libfuzzer_sys::fuzz_target!(|data: &[u8]| conversation::run("envoy.filters.network.mysql_proxy", data));
