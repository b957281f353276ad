use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Owned {
    Connect,
    OpenMap(Vec<u8>),
    LookUp(u32, Vec<u8>),
    Mark(u32),
    Transparent,
}

impl Owned {
    fn as_request(&self) -> Request<'_> {
        match self {
            Owned::Connect => Request::Connect,
            Owned::OpenMap(path) => Request::OpenMap(path),
            Owned::LookUp(map, key) => Request::LookUp { map: *map, key },
            Owned::Mark(mark) => Request::Mark(*mark),
            Owned::Transparent => Request::Transparent,
        }
    }
}

fn requests() -> impl Strategy<Value = Owned> {
    prop_oneof![
        Just(Owned::Connect),
        vec(1_u8.., 1..=MAX_PATH).prop_map(Owned::OpenMap),
        (any::<u32>(), vec(any::<u8>(), 1..=MAX_KEY)).prop_map(|(map, key)| Owned::LookUp(map, key)),
        any::<u32>().prop_map(Owned::Mark),
        Just(Owned::Transparent),
    ]
}

proptest! {
    #[test]
    fn a_request_arrives_as_it_was_sent(request in requests(), sequence: u32) {
        let mut buffer = [0; MAX_REQUEST];
        let packet = request.as_request().encode(sequence, &mut buffer).unwrap();
        prop_assert_eq!(Request::decode(packet), Ok((sequence, request.as_request())));
    }

    #[test]
    fn any_packet_is_a_request_that_encodes_to_itself_or_is_malformed(packet in vec(any::<u8>(), 0..128)) {
        if let Ok((sequence, request)) = Request::decode(&packet) {
            let mut buffer = [0; MAX_REQUEST];
            prop_assert_eq!(request.encode(sequence, &mut buffer).unwrap(), &packet[..]);
        }
    }

    #[test]
    fn a_truncated_or_changed_request_is_never_another_length(
        request in requests(), sequence: u32, operation in 0_u8..9, cut in 0_usize..32
    ) {
        let mut buffer = [0; MAX_REQUEST];
        let mut packet = request.as_request().encode(sequence, &mut buffer).unwrap().to_vec();
        packet[1] = operation;
        packet.truncate(packet.len().saturating_sub(cut));
        if let Ok((_, decoded)) = Request::decode(&packet) {
            let mut again = [0; MAX_REQUEST];
            prop_assert_eq!(decoded.encode(sequence, &mut again).unwrap(), &packet[..]);
        }
    }

    #[test]
    fn a_reply_of_any_bytes_is_decoded_or_malformed(
        request in requests(), sequence: u32, packet in vec(any::<u8>(), 0..300)
    ) {
        // A random packet hardly ever carries the right sequence number, so it is refused.
        if let Ok(Ok(answer)) = decode_reply(&packet, &request.as_request(), sequence) {
            let mut buffer = [0; MAX_REPLY];
            let again = encode_reply(request.as_request().operation(), sequence, Ok(answer), &mut buffer).unwrap();
            prop_assert_eq!(again, &packet[..]);
        }
    }

    #[test]
    fn a_value_arrives_as_it_was_sent(value in vec(any::<u8>(), 1..=MAX_VALUE), sequence: u32) {
        let request = Request::LookUp { map: 7, key: &[0] };
        let mut buffer = [0; MAX_REPLY];
        let packet =
            encode_reply(request.operation(), sequence, Ok(Answer::Value(&value)), &mut buffer).unwrap();
        prop_assert_eq!(decode_reply(packet, &request, sequence), Ok(Ok(Answer::Value(&value))));
    }
}

#[test]
fn an_errno_arrives_as_it_was_sent() {
    let mut buffer = [0; MAX_REPLY];
    let packet = encode_reply(Request::Mark(1).operation(), 9, Err(Errno::PERM), &mut buffer).unwrap();
    assert_eq!(decode_reply(packet, &Request::Mark(1), 9), Ok(Err(Errno::PERM)));
}

#[test]
fn the_reply_to_another_request_is_malformed() {
    let mut buffer = [0; MAX_REPLY];
    let packet = encode_reply(Request::Mark(1).operation(), 9, Ok(Answer::Done), &mut buffer).unwrap();
    assert_eq!(decode_reply(packet, &Request::Mark(1), 10), Err(Malformed));
    assert_eq!(decode_reply(packet, &Request::Transparent, 9), Err(Malformed));
}

#[test]
fn paths_with_a_nul_and_empty_keys_are_not_sent() {
    let mut buffer = [0; MAX_REQUEST];
    assert_eq!(Request::OpenMap(b"/sys/fs/bpf/a\0b").encode(1, &mut buffer), Err(Malformed));
    assert_eq!(Request::OpenMap(&[b'x'; MAX_PATH + 1]).encode(1, &mut buffer), Err(Malformed));
    assert_eq!(Request::LookUp { map: 1, key: b"" }.encode(1, &mut buffer), Err(Malformed));
}
