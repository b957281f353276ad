#![no_main]

mod conversation;

libfuzzer_sys::fuzz_target!(|data: &[u8]| conversation::run("r2d2", data));
