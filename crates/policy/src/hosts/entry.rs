//! Host addresses as the resources write them: an address, or a prefix with its length.

use std::net::IpAddr;

/// An address or prefix, with its length.
#[derive(Debug, Clone, Copy)]
pub(super) enum Host {
    V4(u32, u32),
    V6(u128, u32),
}

impl Host {
    pub(super) fn parse(host: &str, identity: u32) -> Result<Self, String> {
        let (address, length) = match host.split_once('/') {
            Some((address, length)) => (address, Some(parse_length(length).ok_or_else(|| bad_length(host))?)),
            None => (host, None),
        };
        match address.parse() {
            Ok(IpAddr::V4(v4)) => Ok(Self::V4(v4.to_bits(), check(v4.to_bits().into(), 32, length, host)?)),
            Ok(IpAddr::V6(v6)) => Ok(Self::V6(v6.to_bits(), check(v6.to_bits(), 128, length, host)?)),
            Err(_) => Err(format!("NetworkPolicyHosts: Invalid host entry '{host}' for policy {identity}")),
        }
    }
}

/// Decimal without sign or leading zeros.
fn parse_length(text: &str) -> Option<u32> {
    let valid = text.bytes().all(|b| b.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    text.parse().ok().filter(|_| valid)
}

fn bad_length(host: &str) -> String {
    format!("NetworkPolicyHosts: Invalid prefix length in '{host}'")
}

/// The length, if it is at most `bits` and all further bits of the address are zero.
fn check(address: u128, bits: u32, length: Option<u32>, host: &str) -> Result<u32, String> {
    let length = length.unwrap_or(bits);
    let rest = bits.checked_sub(length).ok_or_else(|| bad_length(host))?;
    let prefix = u128::MAX.checked_shl(rest).unwrap_or(0);
    if address & !prefix != 0 {
        return Err(format!("NetworkPolicyHosts: Non-prefix bits set in '{host}'"));
    }
    Ok(length)
}
