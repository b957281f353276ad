//! The options of upstream sockets, as `libcilium_sockets.so` knows them.

use cilium_abi::network::Connection;
use cilium_privileged::private_option::{LEVEL, LINGER, MARK, SOURCE_ADDRESS, SOURCE_ADDRESS_ON_CONNECT};

use crate::metadata::UpstreamSocket;

/// Has the upstream sockets of the connection get what was decided about them.
pub(crate) fn set(connection: &mut Connection<'_>, socket: &UpstreamSocket) {
    // An address and port that is still in use by a connection just ended can be used again.
    connection.set_upstream_option(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1);
    connection.set_upstream_option(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1);
    if let Some(mark) = socket.mark {
        connection.set_upstream_option_bytes(LEVEL, MARK, &mark.to_ne_bytes());
    }
    let source = socket.source.encode();
    if source.is_empty() {
        return;
    }
    let option = if socket.on_connect { SOURCE_ADDRESS_ON_CONNECT } else { SOURCE_ADDRESS };
    connection.set_upstream_option_bytes(LEVEL, option, &source);
    if let Some(seconds) = socket.linger {
        connection.set_upstream_option_bytes(LEVEL, LINGER, &seconds.to_ne_bytes());
    }
}
