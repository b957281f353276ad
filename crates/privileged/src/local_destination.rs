//! Which destinations are local: source addresses are not used towards them, since the answers of a workload on this
//! node would go to the client and not to the proxy.

use std::net::IpAddr;

use crate::sys;

/// Has the socket shim ask `check` for sockets with the option [`crate::private_option::SOURCE_ADDRESS_ON_CONNECT`]: it
/// says whether an address is that of a workload on this node. It is called on the thread that connects and must not
/// wait; where it panics, the connection fails. Whether there is a shim to ask; the first check given stays.
pub fn register(check: fn(IpAddr) -> bool) -> bool {
    sys::set_local_check(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_shim_there_is_nobody_to_ask() {
        assert!(!register(|address| address.is_loopback()));
    }
}
