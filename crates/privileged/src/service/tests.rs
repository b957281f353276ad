use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use proptest::prelude::*;

use super::*;

fn service() -> Service {
    Service::spawn(vec![BpfRoot::new("/sys/fs/bpf").unwrap()]).unwrap().0
}

#[test]
fn the_service_reports_its_capabilities() {
    let service = service();
    let own = rustix::thread::capabilities(None).unwrap().effective.bits();
    assert_eq!(service.client().unwrap().capabilities(), Ok(own));
}

#[test]
fn a_client_without_a_service_is_refused_everything() {
    let client = Client::disconnected();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(client.set_mark(socket.as_fd(), 1), Err(Errno::PERM));
    assert_eq!(client.set_transparent(socket.as_fd()), Err(Errno::PERM));
    assert_eq!(client.capabilities(), Err(Errno::PERM));
}

#[test]
fn only_internet_sockets_are_touched() {
    let service = service();
    let client = service.client().unwrap();
    let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(client.set_mark(unix.as_fd(), 1), Err(Errno::AFNOSUPPORT));
    let file = std::fs::File::open("/proc/self/status").unwrap();
    assert_eq!(client.set_mark(file.as_fd(), 1), Err(Errno::NOTSOCK));
    assert_eq!(client.set_transparent(file.as_fd()), Err(Errno::NOTSOCK));
}

#[test]
fn a_mark_is_set_or_refused_as_the_service_s_capabilities_say() {
    let service = service();
    let client = service.client().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let allowed = crate::Capabilities::of_this_thread().unwrap().allow(crate::Feature::Marks);
    let expected = if allowed { Ok(()) } else { Err(Errno::PERM) };
    assert_eq!(client.set_mark(socket.as_fd(), 0xb00), expected);
    assert_eq!(client.set_transparent(socket.as_fd()), expected);
}

#[test]
fn maps_outside_the_roots_are_not_opened() {
    let service = service();
    let client = service.client().unwrap();
    for path in ["/sys/fs/bpf/../../../etc/passwd", "/etc/passwd", "relative", "/sys/fs/bpf"] {
        assert_eq!(client.open_map(path.as_bytes()).unwrap_err(), Errno::ACCESS, "{path}");
    }
    assert_eq!(client.look_up(1, &[0; 24], &mut [0; 12]), Err(Errno::STALE));
}

#[test]
fn a_client_of_a_service_that_ended_is_refused() {
    let service = service();
    let client = service.client().unwrap();
    assert!(client.capabilities().is_ok());
    drop(service);
    for _ in 0..3 {
        assert!(client.capabilities().is_err());
    }
}

#[test]
fn a_client_of_a_service_that_does_not_answer_gives_up() {
    let (_silent, connection) = connection::pair().unwrap();
    let client = Client::disconnected();
    client.attach(connection).unwrap();
    assert_eq!(client.capabilities(), Err(Errno::TIMEDOUT));
}

#[test]
fn what_cannot_be_a_connection_is_not_used() {
    let client = Client::disconnected();
    let stream = std::os::unix::net::UnixStream::pair().unwrap().0;
    assert_eq!(client.attach(stream.into()), Err(Errno::PROTOTYPE));
    assert_eq!(client.attach(std::fs::File::open("/dev/null").unwrap().into()), Err(Errno::NOTSOCK));
    assert!(!client.is_connected());
}

#[test]
fn an_ended_connection_leaves_the_others() {
    let service = service();
    let other = service.client().unwrap();
    assert!(other.capabilities().is_ok());
    drop(service.client().unwrap());
    assert!(other.capabilities().is_ok());
}

#[test]
fn connections_are_bounded_and_come_back() {
    let service = service();
    let mut taken: Vec<OwnedFd> = Vec::new();
    while let Ok(connection) = service.connect() {
        taken.push(connection);
        assert!(taken.len() <= MAX_CONNECTIONS);
    }
    drop(taken);
    // Their threads end in their own time.
    while service.connect().is_err() {
        thread::yield_now();
    }
}

#[test]
fn threads_ask_at_the_same_time() {
    let service = service();
    let client = service.client().unwrap();
    let expected = client.capabilities().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(client.capabilities(), Ok(expected));
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_packets_are_answered_and_leave_the_service_usable(
        packets in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 1..1_200), any::<bool>(), 0_u8..8), 1..8)
    ) {
        let service = service();
        let connection = service.connect().unwrap();
        let attached = std::fs::File::open("/dev/null").unwrap();
        let mut reply = [0; wire::MAX_REPLY];
        for (mut packet, with_descriptor, operation) in packets {
            // Half-right packets get further than random ones.
            for (place, byte) in packet.iter_mut().zip([1, operation, 0, 0]) {
                *place = byte;
            }
            let descriptor = with_descriptor.then(|| attached.as_fd());
            connection::send(connection.as_fd(), &packet, descriptor).unwrap();
            let (length, _) = connection::receive(connection.as_fd(), &mut reply).unwrap();
            prop_assert!(length >= 12);
        }
        prop_assert!(service.client().unwrap().capabilities().is_ok());
    }
}
