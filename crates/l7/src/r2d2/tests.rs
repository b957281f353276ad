use proptest::prelude::*;

use crate::testing::{Harness, transcript};

#[test]
fn denied_commands_do_not_reach_the_server_and_are_answered() {
    let mut harness = Harness::new("r2d2", &[&[("cmd", "READ")]]);
    assert_eq!(harness.client(b"READ a\r\nWRITE b\r\nREAD c\r\n"), b"READ a\r\nREAD c\r\n");
    assert_eq!(harness.reverse(true), b"ERROR\r\n");
    assert_eq!(harness.server(b"ok a\r\nok c\r\n"), b"ok a\r\nok c\r\n");
    assert_eq!(harness.denied(), 1);
}

#[test]
fn a_denied_command_alone_is_answered_at_once() {
    let mut harness = Harness::new("r2d2", &[&[("file", "^public")]]);
    assert_eq!(harness.client(b"READ private\r\n"), b"");
    assert_eq!(harness.reverse(true), b"ERROR\r\n");
}

#[test]
fn a_command_with_two_files_has_none() {
    let mut harness = Harness::new("r2d2", &[&[("file", "a")]]);
    assert_eq!(harness.client(b"READ a b\r\n"), b"");
    assert_eq!(harness.records[0].fields()["file"], "");
}

#[test]
fn a_changed_policy_counts_from_the_next_command_on() {
    let mut harness = Harness::new("r2d2", &[&[("cmd", "READ")]]);
    assert_eq!(harness.client(b"READ a\r\n"), b"READ a\r\n");
    harness.rules(&[&[("cmd", "HALT")]]);
    assert_eq!(harness.client(b"READ a\r\n"), b"");
}

#[test]
fn an_endless_line_closes() {
    let mut harness = Harness::new("r2d2", &[]);
    let closed = harness.try_client(&vec![b'a'; 1 << 20]).unwrap_err();
    assert!(closed.reason.contains("a line of over 65536 bytes"), "{closed}");
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_result(cuts in prop::collection::vec(1_usize..20, 1..20)) {
        let conversation = [
            (false, b"READ a\r\nWRITE b\r\nREAD\r\n\r\nHALT\r\nREAD c\r\n".to_vec()),
            (true, b"OK\r\nOK\r\n".to_vec()),
        ];
        let read: &[&[(&str, &str)]] = &[&[("cmd", "READ")]];
        let whole = transcript(&mut Harness::new("r2d2", read), &conversation, &[]);
        prop_assert_eq!(whole, transcript(&mut Harness::new("r2d2", read), &conversation, &cuts));
    }
}
