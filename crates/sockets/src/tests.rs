//! In the test executable, too, libc's callers reach the function above.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use cilium_privileged::SourceAddresses;
use cilium_privileged::private_option::{LEVEL, LINGER, MARK, SOURCE_ADDRESS, SOURCE_ADDRESS_ON_CONNECT, TRANSPARENT};
use rustix::io::Errno;
use rustix::net::sockopt::socket_linger;

fn set(socket: &impl AsRawFd, name: i32, value: &[u8]) -> Result<(), Errno> {
    set_at(socket, LEVEL, name, value)
}

fn set_at(socket: &impl AsRawFd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    let length = u32::try_from(value.len()).unwrap();
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap()) }
}

fn tcp(family: i32) -> OwnedFd {
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM, 0) };
    assert!(fd >= 0);
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn source(address: &str) -> Vec<u8> {
    SourceAddresses::from(address.parse::<SocketAddr>().unwrap()).encode()
}

fn connect(socket: OwnedFd, to: SocketAddr) -> TcpStream {
    let to = SourceAddresses::from(to).encode();
    let length = u32::try_from(to.len()).unwrap();
    assert_eq!(unsafe { libc::connect(socket.as_raw_fd(), to.as_ptr().cast(), length) }, 0);
    TcpStream::from(socket)
}

#[test]
fn other_levels_are_libc_s() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(set_at(&socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1_i32.to_ne_bytes()), Ok(()));
    assert_eq!(set_at(&socket, LEVEL + 1, SOURCE_ADDRESS, &[0; 16]), Err(Errno::NOPROTOOPT));
}

#[test]
fn a_connection_comes_from_the_address_and_a_port_of_the_kernel_s() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = tcp(libc::AF_INET);
    set(&socket, SOURCE_ADDRESS, &source("127.0.0.9:0")).unwrap();
    let _client = connect(socket, server.local_addr().unwrap());
    let (_, peer) = server.accept().unwrap();
    assert_eq!(peer.ip().to_string(), "127.0.0.9");
    assert_ne!(peer.port(), 0);
}

#[test]
fn two_connections_may_share_address_and_port_to_different_servers() {
    let servers = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| TcpListener::bind(address).unwrap());
    let port = TcpListener::bind("127.0.0.10:0").unwrap().local_addr().unwrap().port();
    let from = format!("127.0.0.10:{port}");
    let clients = servers.each_ref().map(|server| {
        let socket = tcp(libc::AF_INET);
        set(&socket, SOURCE_ADDRESS, &source(&from)).unwrap();
        connect(socket, server.local_addr().unwrap())
    });
    for (server, client) in servers.iter().zip(&clients) {
        assert_eq!(server.accept().unwrap().1.to_string(), from);
        assert_eq!(client.local_addr().unwrap().to_string(), from);
    }
}

#[test]
fn the_address_is_chosen_by_the_socket_s_family() {
    let both = SourceAddresses { ipv4: Some("127.0.0.11:0".parse().unwrap()), ipv6: Some("[::1]:0".parse().unwrap()) }
        .encode();
    for (family, bound) in [(libc::AF_INET, "127.0.0.11:0"), (libc::AF_INET6, "[::1]:0")] {
        let socket = tcp(family);
        set(&socket, SOURCE_ADDRESS, &both).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
        assert_eq!(address.to_string(), bound);
    }
}

#[test]
fn a_socket_of_the_other_family_is_left_as_it_is() {
    let socket = tcp(libc::AF_INET6);
    set(&socket, SOURCE_ADDRESS, &source("127.0.0.9:0")).unwrap();
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    assert_eq!(address.to_string(), "[::]:0");
}

#[test]
fn only_a_connection_from_a_given_port_lingers() {
    let (with, without) = (tcp(libc::AF_INET), tcp(libc::AF_INET));
    let port = TcpListener::bind("127.0.0.12:0").unwrap().local_addr().unwrap().port();
    set(&with, SOURCE_ADDRESS, &source(&format!("127.0.0.12:{port}"))).unwrap();
    set(&without, SOURCE_ADDRESS, &source("127.0.0.12:0")).unwrap();
    for socket in [&with, &without] {
        set(socket, LINGER, &5_u32.to_ne_bytes()).unwrap();
    }
    assert_eq!(socket_linger(&with).unwrap().map(|time| time.as_secs()), Some(5));
    assert_eq!(socket_linger(&without).unwrap(), None);
}

#[test]
fn a_taken_port_is_reported() {
    let taken = TcpListener::bind("127.0.0.13:0").unwrap();
    let socket = tcp(libc::AF_INET);
    let outcome = set(&socket, SOURCE_ADDRESS, &source(&taken.local_addr().unwrap().to_string()));
    assert_eq!(outcome, Err(Errno::ADDRINUSE));
}

#[test]
fn what_is_no_value_is_refused() {
    let socket = tcp(libc::AF_INET);
    for value in [&[][..], &[0; 2], &[0; 15], &[0; 16], &[2; 64], &[0; 200]] {
        assert_eq!(set(&socket, SOURCE_ADDRESS, value), Err(Errno::INVAL), "{value:?}");
    }
    assert_eq!(set(&socket, MARK, &[0; 3]), Err(Errno::INVAL));
    assert_eq!(set(&socket, TRANSPARENT, &[0; 4]), Err(Errno::INVAL));
    assert_eq!(set(&socket, 99, &[0; 4]), Err(Errno::NOPROTOOPT));
    let null = unsafe { libc::setsockopt(socket.as_raw_fd(), LEVEL, MARK, std::ptr::null(), 4) };
    assert_eq!(null, -1);
}

#[test]
fn what_is_no_internet_socket_is_refused() {
    let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(set(&unix, SOURCE_ADDRESS, &source("127.0.0.1:0")), Err(Errno::AFNOSUPPORT));
    assert_eq!(set(&std::fs::File::open("/dev/null").unwrap(), TRANSPARENT, &[1; 4]), Err(Errno::NOTSOCK));
    let closed = unsafe { libc::setsockopt(-1, LEVEL, MARK, [0_u8; 4].as_ptr().cast(), 4) };
    assert_eq!((closed, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EBADF)));
}

/// Who the server sees when a socket that waits for its destination connects.
fn peer_on_connect(source_address: &str, server: &str) -> (SocketAddr, TcpStream) {
    let server = TcpListener::bind(server).unwrap();
    let to = server.local_addr().unwrap();
    let socket = tcp(if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 });
    set(&socket, SOURCE_ADDRESS_ON_CONNECT, &source(source_address)).unwrap();
    set(&socket, LINGER, &3_u32.to_ne_bytes()).unwrap();
    let client = connect(socket, to);
    (server.accept().unwrap().1, client)
}

#[test]
fn a_waiting_socket_is_bound_when_it_connects() {
    let port = TcpListener::bind("127.0.0.20:0").unwrap().local_addr().unwrap().port();
    let (peer, client) = peer_on_connect(&format!("127.0.0.20:{port}"), "127.0.0.1:0");
    assert_eq!(peer.to_string(), format!("127.0.0.20:{port}"));
    assert_eq!(socket_linger(&client).unwrap().map(|time| time.as_secs()), Some(3));
    let (peer, client) = peer_on_connect("127.0.0.21:0", "127.0.0.1:0");
    assert_eq!(peer.ip().to_string(), "127.0.0.21");
    assert_eq!(socket_linger(&client).unwrap(), None);
}

#[test]
fn a_waiting_socket_that_connects_to_its_source_is_left_as_it_is() {
    let port = TcpListener::bind("127.0.0.22:0").unwrap().local_addr().unwrap().port();
    let (peer, client) = peer_on_connect(&format!("127.0.0.22:{port}"), "127.0.0.22:0");
    assert_ne!(peer.port(), port);
    assert_eq!(socket_linger(&client).unwrap(), None);
}

#[test]
fn a_waiting_socket_that_connects_to_a_local_destination_is_left_as_it_is() {
    unsafe extern "C" fn check(address: *const u8, length: usize) -> i32 {
        match unsafe { std::slice::from_raw_parts(address, length) } {
            [127, 0, 0, 30] => 1,
            [127, 0, 0, 31] => -1,
            _ => 0,
        }
    }
    unsafe { crate::cilium_sockets_set_local_check(check) };
    assert_eq!(peer_on_connect("127.0.0.23:0", "127.0.0.1:0").0.ip().to_string(), "127.0.0.23");
    assert_ne!(peer_on_connect("127.0.0.23:0", "127.0.0.30:0").0.ip().to_string(), "127.0.0.23");

    let socket = tcp(libc::AF_INET);
    set(&socket, SOURCE_ADDRESS_ON_CONNECT, &source("127.0.0.23:0")).unwrap();
    let to = source("127.0.0.31:80");
    assert_eq!(unsafe { libc::connect(socket.as_raw_fd(), to.as_ptr().cast(), 16) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
}

#[test]
fn a_closed_socket_s_address_is_not_its_successor_s() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = tcp(libc::AF_INET);
    set(&first, SOURCE_ADDRESS_ON_CONNECT, &source("127.0.0.24:0")).unwrap();
    let second = tcp(libc::AF_INET);
    // The second socket under the first one's number.
    assert!(unsafe { libc::dup2(second.as_raw_fd(), first.as_raw_fd()) } >= 0);
    let _client = connect(first, server.local_addr().unwrap());
    assert_ne!(server.accept().unwrap().1.ip().to_string(), "127.0.0.24");
}

#[test]
fn waiting_sockets_of_a_thread_are_bounded_and_closed_ones_forgotten() {
    std::thread::spawn(|| {
        let mut waiting = Vec::new();
        let outcome = loop {
            let socket = tcp(libc::AF_INET);
            if let Err(errno) = set(&socket, SOURCE_ADDRESS_ON_CONNECT, &source("127.0.0.25:0")) {
                break errno;
            }
            waiting.push(socket);
            assert!(waiting.len() < 1_000);
        };
        assert_eq!(outcome, Errno::NOBUFS);
        drop(waiting);
        assert_eq!(peer_on_connect("127.0.0.26:0", "127.0.0.1:0").0.ip().to_string(), "127.0.0.26");
    })
    .join()
    .unwrap();
}
