//! What is known of a connection before its first byte.

use std::net::SocketAddr;

use thiserror::Error;

/// Who talks to whom, and whose policy decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Seen from the endpoint whose policy applies.
    pub ingress: bool,
    /// Security identity of the side that opened the connection.
    pub source_id: u32,
    /// Security identity of the other side.
    pub destination_id: u32,
    /// `address:port`, as the access log shows it.
    pub source_address: String,
    /// The original destination, `address:port`.
    pub destination_address: String,
    /// Names the policy; an endpoint's IP.
    pub policy_name: String,
    /// Port of the original destination; never 0.
    pub port: u16,
}

/// An address that is not `address:port` with a port other than 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("destination {0:?} is not an address with a port, such as 10.0.0.2:80 or [::1]:80")]
pub struct InvalidAddressError(String);

impl ConnectionInfo {
    /// Takes the port from the destination address.
    pub fn new(
        ingress: bool,
        (source_id, destination_id): (u32, u32),
        source_address: &str,
        destination_address: &str,
        policy_name: &str,
    ) -> Result<Self, InvalidAddressError> {
        let port = destination_address
            .parse::<SocketAddr>()
            .map(|address| address.port())
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| InvalidAddressError(destination_address.to_owned()))?;
        Ok(Self {
            ingress,
            source_id,
            destination_id,
            source_address: source_address.to_owned(),
            destination_address: destination_address.to_owned(),
            policy_name: policy_name.to_owned(),
            port,
        })
    }

    /// Identity of the peer of the endpoint whose policy applies.
    #[must_use]
    pub fn remote_id(&self) -> u32 {
        if self.ingress { self.source_id } else { self.destination_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_needs_a_port() {
        for address in ["", "1.2.3.4", "1.2.3.4:0", "1.2.3.4:65536", "[::1]", "host:80"] {
            assert!(ConnectionInfo::new(true, (1, 2), "1.1.1.1:1", address, "p").is_err(), "{address}");
        }
        assert_eq!(ConnectionInfo::new(false, (1, 2), "", "[::1]:443", "p").unwrap().port, 443);
    }

    #[test]
    fn the_remote_is_the_source_of_ingress_and_the_destination_of_egress() {
        let mut info = ConnectionInfo::new(true, (1, 2), "1.1.1.1:1", "2.2.2.2:2", "p").unwrap();
        assert_eq!(info.remote_id(), 1);
        info.ingress = false;
        assert_eq!(info.remote_id(), 2);
    }
}
