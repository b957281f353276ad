use cilium_policy::{PolicyMap, Snapshot, Update, UpdateKind};
use cilium_privileged::SourceAddresses;
use cilium_proto::cilium::{BpfMetadata, LocalEndpoint, NetworkPolicy};
use prost::Message;

use super::UpstreamSocket;
use crate::metadata::{Config, Metadata};

/// 10.2.2.9 is a workload of this node.
fn policies() -> std::sync::Arc<Snapshot> {
    let policy =
        NetworkPolicy { endpoint_ips: vec!["10.2.2.9".to_owned()], endpoint_id: 9, ..NetworkPolicy::default() };
    let bytes = policy.encode_to_vec();
    let upserts: &[(&str, &[u8])] = &[("9", &bytes)];
    let update = Update { version: "1", kind: UpdateKind::Full, new_stream: false, upserts, removed: &[] };
    PolicyMap::new().update(&update).unwrap()
}

fn metadata(original_source: Option<&str>, source_ipv4: Option<&str>) -> Metadata {
    let address = |text: Option<&str>| text.map(|text| text.parse().unwrap());
    Metadata {
        ingress: false,
        l7lb: false,
        allow_egress: false,
        proxy_id: 0,
        port: 80,
        source_identity: 1,
        ingress_source_identity: 0,
        pod: String::new(),
        ingress_policy: String::new(),
        destination: None,
        parser: None,
        mark: 0xB00,
        original_source: address(original_source),
        source_ipv4: address(source_ipv4),
        source_ipv6: address(Some("[face::42]:0")),
    }
}

fn options(message: &BpfMetadata, metadata: &Metadata, destination: &str) -> UpstreamSocket {
    UpstreamSocket::new(&Config::new(message).unwrap(), metadata, destination.parse().unwrap(), &policies(), true)
}

#[test]
fn the_clients_address_goes_before_the_configured_one_of_its_family() {
    let found = options(&BpfMetadata::default(), &metadata(Some("10.1.1.1:5"), Some("10.1.1.42:0")), "192.0.2.1");
    let expected = SourceAddresses { ipv4: "10.1.1.1:5".parse().ok(), ipv6: "[face::42]:0".parse().ok() };
    assert_eq!((found.source, found.on_connect, found.mark), (expected, false, Some(0xB00)));
}

#[test]
fn no_source_address_towards_a_local_workload() {
    let metadata = metadata(Some("10.1.1.1:5"), None);
    assert_eq!(options(&BpfMetadata::default(), &metadata, "10.2.2.9").source, SourceAddresses::default());
}

#[test]
fn no_source_address_that_is_the_destination() {
    let metadata = metadata(None, Some("192.0.2.1:0"));
    assert_eq!(options(&BpfMetadata::default(), &metadata, "192.0.2.1").source.ipv4, None);
}

#[test]
fn load_balancing_leaves_the_choice_to_the_connection() {
    let balancer = BpfMetadata { is_l7lb: true, ..BpfMetadata::default() };
    let found = options(&balancer, &metadata(None, Some("192.0.2.1:0")), "192.0.2.1");
    assert!(found.on_connect);
    assert_eq!(found.source.ipv4, "192.0.2.1:0".parse().ok());
}

#[test]
fn a_standalone_listener_asks_for_nothing_unless_the_clients_address_is_kept() {
    let local = LocalEndpoint { endpoint_ip: "10.1.1.1".to_owned(), ..LocalEndpoint::default() };
    let standalone = BpfMetadata { local_endpoint: Some(local), ..BpfMetadata::default() };
    let metadata = metadata(Some("10.1.1.1:5"), None);
    assert_eq!(options(&standalone, &metadata, "192.0.2.1").encode(), None);
    let keep = BpfMetadata { use_original_source_address: true, ..standalone };
    assert!(options(&keep, &metadata, "192.0.2.1").on_connect);
}

#[test]
fn options_survive_the_filter_state() {
    let lingering = BpfMetadata { original_source_so_linger_time: Some(0), ..BpfMetadata::default() };
    for destination in ["192.0.2.1", "10.2.2.9"] {
        let found = options(&lingering, &metadata(Some("10.1.1.1:5"), None), destination);
        assert_eq!(UpstreamSocket::decode(&found.encode().unwrap()), Some(found));
    }
    assert_eq!(UpstreamSocket::decode(b"short"), None);
    assert_eq!(UpstreamSocket::decode(b"123456789short"), None);
}
