//! Any expression: compiled or refused, within bounds. The first line is the expression, the rest the subject.
#![no_main]

use cilium_policy::regex::Regex;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let Ok(pattern) = std::str::from_utf8(&bytes[..end]) else { return };
    match Regex::new(pattern) {
        Ok(regex) => {
            regex.is_match(bytes.get(end + 1..).unwrap_or_default());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
