use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use proptest::prelude::*;

use super::*;
use crate::Client;

/// A client of a service that runs in a thread.
fn service() -> Client {
    let (service, program) = connection::pair().unwrap();
    thread::spawn(move || serve(vec![BpfRoot::new("/sys/fs/bpf").unwrap()], service.as_fd()));
    let client = Client::disconnected();
    client.attach(program).unwrap();
    client
}

/// Whether the service answers, whatever it is allowed to do.
fn answers(client: &Client) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    matches!(client.set_mark(socket.as_fd(), 1), Ok(()) | Err(Errno::PERM))
}

#[test]
fn a_client_without_a_service_is_refused_everything() {
    let client = Client::disconnected();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(client.set_mark(socket.as_fd(), 1), Err(Errno::PERM));
    assert_eq!(client.set_transparent(socket.as_fd()), Err(Errno::PERM));
    assert_eq!(client.open_map(b"/sys/fs/bpf/map").unwrap_err(), Errno::PERM);
}

#[test]
fn only_internet_sockets_are_touched() {
    let client = service();
    let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(client.set_mark(unix.as_fd(), 1), Err(Errno::AFNOSUPPORT));
    let file = std::fs::File::open("/proc/self/status").unwrap();
    assert_eq!(client.set_mark(file.as_fd(), 1), Err(Errno::NOTSOCK));
    assert_eq!(client.set_transparent(file.as_fd()), Err(Errno::NOTSOCK));
}

#[test]
fn a_mark_is_set_or_refused_as_the_service_s_capabilities_say() {
    let client = service();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let allowed = crate::Capabilities::of_this_thread().unwrap().allow(crate::Feature::Marks);
    let expected = if allowed { Ok(()) } else { Err(Errno::PERM) };
    assert_eq!(client.set_mark(socket.as_fd(), 0xb00), expected);
    assert_eq!(client.set_transparent(socket.as_fd()), expected);
}

#[test]
fn maps_outside_the_roots_are_not_opened() {
    let client = service();
    for path in ["/sys/fs/bpf/../../../etc/passwd", "/etc/passwd", "relative", "/sys/fs/bpf"] {
        assert_eq!(client.open_map(path.as_bytes()).unwrap_err(), Errno::ACCESS, "{path}");
    }
    assert_eq!(client.look_up(1, &[0; 24], &mut [0; 12]), Err(Errno::STALE));
}

#[test]
fn a_client_of_a_service_that_ended_is_refused() {
    let (service, program) = connection::pair().unwrap();
    let client = Client::disconnected();
    client.attach(program).unwrap();
    drop(service);
    assert_eq!(client.open_map(b"/sys/fs/bpf/map").unwrap_err(), Errno::PIPE);
}

#[test]
fn the_service_ends_with_its_program() {
    let (service, program) = connection::pair().unwrap();
    let running = thread::spawn(move || serve(Vec::new(), service.as_fd()));
    drop(program);
    running.join().unwrap();
}

#[test]
fn a_client_of_a_service_that_does_not_answer_gives_up() {
    let (_silent, connection) = connection::pair().unwrap();
    let client = Client::disconnected();
    client.attach(connection).unwrap();
    assert_eq!(client.open_map(b"/sys/fs/bpf/map").unwrap_err(), Errno::TIMEDOUT);
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
    let client = service();
    assert!(answers(&client));
    drop(client.connect().unwrap());
    assert!(answers(&client));
}

#[test]
fn connections_are_bounded_and_come_back() {
    let client = service();
    let mut taken: Vec<OwnedFd> = Vec::new();
    while let Ok(connection) = client.connect() {
        taken.push(connection);
        assert!(taken.len() <= MAX_CONNECTIONS);
    }
    assert_eq!(taken.len(), MAX_CONNECTIONS);
    drop(taken);
    // Their threads end in their own time.
    while client.connect().is_err() {
        thread::yield_now();
    }
}

#[test]
fn threads_ask_at_the_same_time() {
    let client = service();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(client.look_up(1, &[0; 24], &mut [0; 12]), Err(Errno::STALE));
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
        let client = service();
        let connection = client.connect().unwrap();
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
        prop_assert!(answers(&client));
    }
}
