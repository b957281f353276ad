//! The client against a control plane that keeps to the protocol.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod control_plane;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cilium_channel::{Client, Outcome, State};
use cilium_policy::{Direction, HeaderList, HeaderLog};
use cilium_proto::cilium::port_network_policy_rule::L7;
use cilium_proto::cilium::{
    HeaderMatch, HttpNetworkPolicyRule, HttpNetworkPolicyRules, NetworkPolicy, NetworkPolicyHosts, PortNetworkPolicy,
    PortNetworkPolicyRule,
};
use cilium_proto::cilium_proxy::v1::result::Outcome as Answer;
use cilium_proto::envoy::config::core::v3::{DataSource, data_source::Specifier};
use cilium_proto::envoy::extensions::transport_sockets::tls::v3::{GenericSecret, Secret, secret};
use prost::Message;

use control_plane::*;

fn policy(number: u16) -> (String, Vec<u8>) {
    let address = Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number));
    let message = NetworkPolicy {
        endpoint_ips: vec![address.to_string()],
        endpoint_id: number.into(),
        ..NetworkPolicy::default()
    };
    (number.to_string(), message.encode_to_vec())
}

fn policies(numbers: &[u16]) -> Vec<(String, Vec<u8>)> {
    numbers.iter().copied().map(policy).collect()
}

fn full(version: &'static str, numbers: &[u16]) -> Changes {
    Changes { type_url: POLICIES, version, upserts: policies(numbers), ..Changes::default() }
}

fn delta(base: &'static str, version: &'static str, numbers: &[u16], removed: &[u16]) -> Changes {
    let removed = removed.iter().map(u16::to_string).collect();
    Changes { delta_from: Some(base), removed, ..full(version, numbers) }
}

fn hosts(version: &'static str, identity: u32, addresses: &[&str]) -> Changes {
    let host_addresses = addresses.iter().map(|&address| address.to_owned()).collect();
    let message = NetworkPolicyHosts { policy: identity.into(), host_addresses };
    let upserts = vec![(identity.to_string(), message.encode_to_vec())];
    Changes { type_url: HOSTS, version, upserts, ..Changes::default() }
}

/// Endpoint ids of the policies in force.
fn enforced(state: &State) -> Vec<u64> {
    let mut ids: Vec<u64> = state.policies.endpoints().map(|(_, policy)| policy.endpoint_id()).collect();
    ids.sort_unstable();
    ids
}

fn resolve(client: &Client, address: &str) -> Option<u32> {
    client.state().hosts.resolve(address.parse::<IpAddr>().unwrap())
}

#[test]
fn an_accepted_full_transaction_is_in_force_when_its_answer_arrives() {
    let server = ControlPlane::start();
    let (client, events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&full("1", &[1, 2]));
    let state = client.state();
    assert_eq!(enforced(&state), [1, 2]);
    assert_eq!(state.policies.version(), "1");
    connection.accepted(&full("2", &[2, 3]));
    assert_eq!(enforced(&client.state()), [2, 3]);
    // A guard taken earlier still shows what it showed.
    assert_eq!(enforced(&state), [1, 2]);

    assert_eq!(events.recv().unwrap(), Event::Connected);
    assert_eq!(events.recv().unwrap(), Event::Ready);
    let outcome = Outcome::Accepted;
    let told = Event::Updated { full: true, version: "1".to_owned(), upserts: 2, removed: 0, outcome };
    assert_eq!(events.recv().unwrap(), told);
}

#[test]
fn a_delta_changes_what_it_names() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&full("1", &[1, 2]));
    connection.accepted(&delta("1", "2", &[3], &[1]));
    assert_eq!(enforced(&client.state()), [2, 3]);
    assert_eq!(client.state().policies.version(), "2");
}

#[test]
fn a_delta_from_another_version_is_a_base_mismatch() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    let Answer::BaseMismatch(mismatch) = connection.update(&delta("1", "2", &[3], &[])) else { panic!("no mismatch") };
    assert_eq!(mismatch.version, "");
    connection.accepted(&full("1", &[1]));
    let Answer::BaseMismatch(mismatch) = connection.update(&delta("0", "2", &[3], &[])) else { panic!("no mismatch") };
    assert_eq!(mismatch.version, "1");
    assert_eq!(enforced(&client.state()), [1]);
}

#[test]
fn a_delta_of_another_run_of_the_control_plane_is_a_base_mismatch() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&full("1", &[1]));
    drop(connection);
    let mut connection = server.accept();
    connection.hello(2, &[]);
    let Answer::BaseMismatch(mismatch) = connection.update(&delta("1", "2", &[3], &[])) else { panic!("no mismatch") };
    assert_eq!(mismatch.version, "");
    connection.accepted(&full("1", &[4]));
    assert_eq!(enforced(&client.state()), [4]);
}

#[test]
fn a_refused_policy_changes_nothing_and_says_which() {
    let server = ControlPlane::start();
    let (client, events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&full("1", &[1]));
    let before = client.state_full();
    let mut changes = full("2", &[2, 3]);
    changes.upserts[1].1 = b"\xff\xff".to_vec();
    let detail = connection.rejected(&changes);
    assert!(detail.contains('3'), "{detail}");
    assert!(Arc::ptr_eq(&before, &client.state_full()));
    connection.accepted(&delta("1", "2", &[2], &[]));
    assert_eq!(next_event(&events), Event::Ready);
    assert!(matches!(next_event(&events), Event::Updated { outcome: Outcome::Accepted, .. }));
    let Event::Updated { outcome, .. } = next_event(&events) else { panic!("no update") };
    assert_eq!(outcome, Outcome::Rejected(detail));
}

#[test]
fn hosts_are_a_type_of_their_own() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&full("7", &[1]));
    connection.accepted(&hosts("1", 42, &["10.0.0.0/8", "f00d::1"]));
    assert_eq!(resolve(&client, "10.1.2.3"), Some(42));
    assert_eq!(resolve(&client, "f00d::1"), Some(42));
    connection.accepted(&Changes { delta_from: Some("1"), ..hosts("2", 43, &["10.1.0.0/16"]) });
    assert_eq!(resolve(&client, "10.1.2.3"), Some(43));
    let broken = Changes { delta_from: Some("2"), ..hosts("3", 44, &["10.2.0.0/16", "not an address"]) };
    let detail = connection.rejected(&broken);
    assert!(detail.contains("not an address"), "{detail}");
    assert_eq!(resolve(&client, "10.2.0.1"), Some(42));
    assert_eq!(enforced(&client.state()), [1]);
}

#[test]
fn ready_is_told_once_when_all_required_types_are_applied() {
    let server = ControlPlane::start();
    let (_client, events) = client(&server.path);
    let mut connection = server.accept();
    connection.hello(1, &[POLICIES, HOSTS]);
    connection.accepted(&full("1", &[1]));
    connection.accepted(&full("2", &[1, 2]));
    connection.accepted(&hosts("1", 42, &["10.0.0.0/8"]));
    connection.accepted(&hosts("2", 42, &["10.0.0.0/8"]));
    drop(connection);
    let mut connection = server.accept();
    connection.hello(1, &[POLICIES, HOSTS]);
    connection.accepted(&full("3", &[1]));
    let told: Vec<bool> = (0..6).map(|_| next_event(&events) == Event::Ready).collect();
    assert_eq!(told, [false, false, false, true, false, false]);
}

#[test]
fn ready_is_told_at_once_when_nothing_is_required() {
    let server = ControlPlane::start();
    let (_client, events) = client(&server.path);
    let _connection = server.greet();
    assert_eq!(next_event(&events), Event::Ready);
}

#[test]
fn a_refused_first_transaction_is_not_ready() {
    let server = ControlPlane::start();
    let (_client, events) = client(&server.path);
    let mut connection = server.accept();
    connection.hello(1, &[POLICIES]);
    let mut changes = full("1", &[1]);
    changes.upserts[0].1 = b"\xff".to_vec();
    connection.rejected(&changes);
    connection.accepted(&full("2", &[1]));
    assert!(matches!(next_event(&events), Event::Updated { outcome: Outcome::Rejected(_), .. }));
    assert!(matches!(next_event(&events), Event::Updated { outcome: Outcome::Accepted, .. }));
    assert_eq!(next_event(&events), Event::Ready);
}

#[test]
fn the_state_outlives_the_connection_and_the_hello_names_it() {
    let server = ControlPlane::start();
    let (client, events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&full("1", &[1]));
    let digest = client.state().versions.policies.as_ref().unwrap().digest;
    drop(connection);
    assert!(disconnection(&events).contains("closed"));
    assert_eq!(enforced(&client.state()), [1]);

    let hello = server.accept().hello(1, &[]);
    assert_eq!(hello.instance, "envoy-0");
    assert_eq!(hello.applied.len(), 1);
    assert_eq!((hello.applied[0].type_url.as_str(), hello.applied[0].epoch), (POLICIES, 1));
    assert_eq!((hello.applied[0].version.as_str(), hello.applied[0].digest.as_slice()), ("1", &digest[..]));
}

#[test]
fn a_control_plane_that_comes_back_elsewhere_in_time_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.sock");
    let (client, events) = client(&path);
    assert!(matches!(events.recv().unwrap(), Event::Unreachable(error) if error.contains("policy.sock")));
    let server = ControlPlane::start_at(&path);
    server.greet().accepted(&full("1", &[1]));
    drop(server);
    let server = ControlPlane::start_at(&path);
    server.greet().accepted(&full("1", &[2]));
    assert_eq!(enforced(&client.state()), [2]);
}

#[test]
fn a_replay_of_what_is_in_force_keeps_the_snapshot() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    server.greet().accepted(&full("1", &[1, 2]));
    let before = client.state_full();
    let mut connection = server.accept();
    connection.hello(2, &[]);
    connection.accepted(&full("1", &[1, 2]));
    let after = client.state_full();
    assert!(Arc::ptr_eq(&before.policies, &after.policies));
    assert_eq!(after.versions.policies.as_ref().unwrap().epoch, 2);
    // With the base of the new run a DELTA goes through.
    connection.accepted(&delta("1", "2", &[3], &[]));
}

#[test]
fn new_streams_are_counted_and_not_taken_for_replays() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    let opened = Changes { new_stream: true, ..full("1", &[1]) };
    connection.accepted(&opened);
    let before = client.state_full();
    connection.accepted(&opened);
    let after = client.state_full();
    assert!(!Arc::ptr_eq(&before.policies, &after.policies));
    let stream = |state: &State| state.versions.policies.as_ref().unwrap().stream;
    assert_eq!((stream(&before), stream(&after)), (1, 2));
}

/// Endpoint 1 takes requests with the secret "token" in header "x-token".
fn policy_with_secret() -> Changes {
    let header_match =
        HeaderMatch { name: "x-token".to_owned(), value_sds_secret: "token".to_owned(), ..HeaderMatch::default() };
    let http = HttpNetworkPolicyRule { header_matches: vec![header_match], ..HttpNetworkPolicyRule::default() };
    let rule = PortNetworkPolicyRule {
        l7: Some(L7::HttpRules(HttpNetworkPolicyRules { http_rules: vec![http] })),
        ..PortNetworkPolicyRule::default()
    };
    let message = NetworkPolicy {
        endpoint_ips: vec!["10.0.0.1".to_owned()],
        endpoint_id: 1,
        ingress_per_port_policies: vec![PortNetworkPolicy { rules: vec![rule], ..PortNetworkPolicy::default() }],
        ..NetworkPolicy::default()
    };
    Changes { upserts: vec![("1".to_owned(), message.encode_to_vec())], ..full("1", &[]) }
}

fn secret(specifier: Specifier) -> Vec<u8> {
    let generic = GenericSecret { secret: Some(DataSource { specifier: Some(specifier) }) };
    Secret { name: "token".to_owned(), r#type: Some(secret::Type::GenericSecret(generic)) }.encode_to_vec()
}

fn secrets(version: &'static str, named: &[(&str, Specifier)]) -> Changes {
    let upserts = named.iter().map(|(name, value)| ((*name).to_owned(), secret(value.clone()))).collect();
    Changes { type_url: SECRETS, version, upserts, ..Changes::default() }
}

fn admits(state: &State, token: &str) -> bool {
    let mut headers: HeaderList = [(":path", "/"), ("x-token", token)].into_iter().collect();
    let policy = state.policies.endpoint("10.0.0.1").unwrap();
    policy.port(Direction::Ingress, 80).http(0, 1, &mut headers, &mut HeaderLog::default()).allowed
}

#[test]
fn secrets_are_delivered_replaced_and_withdrawn() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&secrets("1", &[("token", Specifier::InlineString("first".to_owned()))]));
    connection.accepted(&policy_with_secret());
    let state = client.state_full();
    assert!(admits(&state, "first") && !admits(&state, "second"));

    let replaced = secrets("2", &[("token", Specifier::InlineBytes(b"second".to_vec()))]);
    connection.accepted(&Changes { delta_from: Some("1"), ..replaced });
    assert!(admits(&state, "second") && !admits(&state, "first"));

    // A whole state without it, or a removal by name.
    connection.accepted(&secrets("3", &[("other", Specifier::InlineString("second".to_owned()))]));
    assert!(!admits(&state, "second"));
    connection.accepted(&secrets("4", &[("token", Specifier::InlineString("third".to_owned()))]));
    assert!(admits(&state, "third"));
    let removed = vec!["token".to_owned()];
    connection.accepted(&Changes { delta_from: Some("4"), removed, ..secrets("5", &[]) });
    assert!(!admits(&state, "third"));
}

#[test]
fn a_secret_that_is_not_inline_is_refused_with_all_that_came_with_it() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&policy_with_secret());
    let inline = ("token", Specifier::InlineString("first".to_owned()));
    let file = Specifier::Filename("/etc/shadow".to_owned());
    let detail = connection.rejected(&secrets("1", &[inline, ("file", file)]));
    assert!(detail.contains("\"file\"") && detail.contains("inline_bytes"), "{detail}");
    assert!(!admits(&client.state(), "first"));

    let certificate = vec![("tls".to_owned(), Secret::default().encode_to_vec())];
    let detail = connection.rejected(&Changes { upserts: certificate, ..secrets("1", &[]) });
    assert!(detail.contains("\"tls\"") && detail.contains("generic_secret"), "{detail}");
}

#[test]
fn two_clients_have_a_state_each() {
    let server = ControlPlane::start();
    let (first, _events_of_first) = client(&server.path);
    let mut to_first = server.greet();
    let (second, _events_of_second) = client(&server.path);
    let mut to_second = server.greet();
    to_first.accepted(&full("1", &[1]));
    to_second.accepted(&full("1", &[2]));
    assert_eq!((enforced(&first.state()), enforced(&second.state())), (vec![1], vec![2]));
    drop(first);
    to_first.expect_close();
    to_second.accepted(&full("2", &[3]));
}

#[test]
fn dropping_the_client_ends_its_thread_and_keeps_the_state() {
    let server = ControlPlane::start();
    let (client, events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&full("1", &[1]));
    let shared = client.shared();
    // Ends in the middle of a transaction.
    connection.begin(&full("2", &[2]));
    drop(client);
    // The observer was dropped with the thread: the iteration ends.
    events.into_iter().for_each(drop);
    connection.expect_close();
    assert_eq!(enforced(&shared.load()), [1]);
}

#[test]
fn dropping_a_client_that_cannot_connect_ends_its_thread() {
    let directory = tempfile::tempdir().unwrap();
    let (client, events) = client(&directory.path().join("absent.sock"));
    events.recv().unwrap();
    drop(client);
    events.into_iter().for_each(drop);
}

#[test]
fn a_replaced_snapshot_is_freed_when_its_last_reader_is_gone() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    connection.accepted(&full("1", &[1]));
    let kept = Arc::clone(&client.state().policies);
    let watched = Arc::downgrade(&kept);
    connection.accepted(&full("2", &[2]));
    assert_eq!(kept.version(), "1");
    // The client still has it, so that a worker which drops its own does not free it.
    assert!(Arc::strong_count(&kept) > 1);
    drop(kept);
    while watched.upgrade().is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn fifty_megabytes_are_one_transaction() {
    let server = ControlPlane::start();
    let (client, _events) = client(&server.path);
    let mut connection = server.greet();
    let many = (0..850_u32).flat_map(|identity| {
        // Over 60 KB of addresses each.
        let addresses: Vec<String> =
            (0..5000_u32).map(|host| Ipv4Addr::from_bits(identity * 5000 + host + (11 << 24)).to_string()).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        hosts("1", identity + 1, &addresses).upserts
    });
    let changes = Changes { type_url: HOSTS, version: "1", upserts: many.collect(), ..Changes::default() };
    let bytes: usize = changes.upserts.iter().map(|(_, resource)| resource.len()).sum();
    assert!(bytes > 50 << 20, "{bytes}");
    connection.accepted(&changes);
    assert_eq!(resolve(&client, "11.0.0.0"), Some(1));
    assert_eq!(resolve(&client, "11.64.217.143"), Some(850));
}
