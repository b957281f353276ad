use std::net::IpAddr;

use cilium_policy::hosts::{HostMap, HostUpdate};
use cilium_policy::{PolicyMap, Update, UpdateKind};
use cilium_proto::cilium::{
    BpfMetadata, LocalEndpoint, NetworkPolicy, NetworkPolicyHosts, PortNetworkPolicy, PortNetworkPolicyRule,
};
use prost::Message;

use super::{Flow, Metadata, Refused, extract};
use crate::identities::Source;
use crate::metadata::{Config, Context};

const INGRESS_ID: u32 = 8;

fn policy(ips: &[&str], endpoint_id: u64, egress: Vec<PortNetworkPolicy>) -> NetworkPolicy {
    let endpoint_ips = ips.iter().map(ToString::to_string).collect();
    NetworkPolicy { endpoint_ips, endpoint_id, egress_per_port_policies: egress, ..NetworkPolicy::default() }
}

fn hosts(policy: u64, addresses: &[&str]) -> (String, Vec<u8>) {
    let host_addresses = addresses.iter().map(ToString::to_string).collect();
    (policy.to_string(), NetworkPolicyHosts { policy, host_addresses }.encode_to_vec())
}

/// Endpoint 10.1.1.1 (id 2048) and the ingress addresses 10.1.1.42 and `face::42` exist; 111 and 8 are identities.
fn metadata(message: BpfMetadata, source: &str, destination: &str) -> Result<Metadata, Refused> {
    let rule = PortNetworkPolicyRule { l7_proto: "r2d2".to_owned(), ..PortNetworkPolicyRule::default() };
    let port = PortNetworkPolicy { port: 4040, rules: vec![rule], ..PortNetworkPolicy::default() };
    let resources: Vec<(String, Vec<u8>)> =
        [policy(&["10.1.1.1", "face::1:1:1"], 2048, vec![port]), policy(&["10.2.2.9"], 4096, vec![])]
            .iter()
            .map(|policy| (policy.endpoint_id.to_string(), policy.encode_to_vec()))
            .collect();
    let upserts: Vec<(&str, &[u8])> = resources.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    let update = Update { version: "1", kind: UpdateKind::Full, new_stream: false, upserts: &upserts, removed: &[] };
    let snapshot = PolicyMap::new().update(&update).unwrap();

    let resources = [hosts(111, &["10.1.1.1", "face::1:1:1"]), hosts(INGRESS_ID.into(), &["10.1.1.42", "face::42"])];
    let upserts: Vec<(&str, &[u8])> = resources.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    let update =
        HostUpdate { version: "1", kind: UpdateKind::Full, new_stream: false, upserts: &upserts, removed: &[] };
    let identities = HostMap::default().update(&update).unwrap();

    let config = Config::new(&BpfMetadata { use_nphds: true, ..message }).unwrap();
    let flow = Flow { source: source.parse().unwrap(), destination: destination.parse().unwrap() };
    extract(&config, flow, &snapshot, &identities)
}

fn balancer() -> BpfMetadata {
    BpfMetadata {
        is_l7lb: true,
        ipv4_source_address: "10.1.1.42".to_owned(),
        ipv6_source_address: "face::42".to_owned(),
        ..BpfMetadata::default()
    }
}

#[test]
fn ingress_is_about_the_destination() {
    let found = metadata(BpfMetadata { is_ingress: true, ..BpfMetadata::default() }, "10.1.1.1:1234", "10.2.2.9:80");
    let found = found.unwrap();
    assert_eq!((found.pod.as_str(), found.source_identity, found.port), ("10.2.2.9", 111, 80));
    assert_eq!(found.mark, 111 << 16 | 0x0A00);
    assert_eq!(found.original_source, None);
}

#[test]
fn egress_is_about_the_source_and_unknown_addresses_are_the_world() {
    let found = metadata(BpfMetadata::default(), "10.1.1.1:1234", "192.0.2.1:80").unwrap();
    assert_eq!((found.pod.as_str(), found.source_identity), ("10.1.1.1", 111));
    let found = metadata(BpfMetadata::default(), "192.0.2.1:1234", "192.0.2.2:80").unwrap();
    assert_eq!(found.source_identity, 2);
}

#[test]
fn original_source_is_kept_only_towards_other_nodes() {
    let keep = BpfMetadata { use_original_source_address: true, ..BpfMetadata::default() };
    let remote = metadata(keep.clone(), "10.1.1.1:1234", "192.0.2.1:80").unwrap();
    assert_eq!(remote.original_source, Some("10.1.1.1:1234".parse().unwrap()));
    let local = metadata(keep, "10.1.1.1:1234", "10.2.2.9:80").unwrap();
    assert_eq!(local.original_source, None);
}

#[test]
fn parser_comes_from_the_rules_of_the_port() {
    assert_eq!(
        metadata(BpfMetadata::default(), "10.1.1.1:1", "10.2.2.9:4040").unwrap().parser.as_deref(),
        Some("r2d2")
    );
    assert_eq!(metadata(BpfMetadata::default(), "10.1.1.1:1", "10.2.2.9:4041").unwrap().parser, None);
}

#[test]
fn north_south_uses_the_balancers_address_and_identity() {
    let found = metadata(balancer(), "192.0.2.1:1234", "10.2.2.2:80").unwrap();
    assert_eq!((found.pod.as_str(), found.ingress_policy.as_str()), ("", ""));
    assert_eq!((found.source_identity, found.mark), (INGRESS_ID, 527_104));
    assert!(found.allow_egress);
    assert_eq!(found.source_ipv4, Some("10.1.1.42:0".parse().unwrap()));
    assert_eq!(found.source_ipv6, Some("[face::42]:0".parse().unwrap()));
}

#[test]
fn north_south_takes_the_family_of_the_destination() {
    let only_v4 = BpfMetadata { ipv6_source_address: String::new(), ..balancer() };
    let found = metadata(only_v4.clone(), "[2003:fa:c701:ff01::10f6]:12345", "10.2.2.2:80").unwrap();
    assert_eq!(found.source_ipv6, None);
    assert!(metadata(only_v4, "192.0.2.1:1234", "[2001:db8::1]:80").is_err());
}

#[test]
fn north_south_enforces_both_policies_when_asked() {
    let enforcing = BpfMetadata { enforce_policy_on_l7lb: true, ..balancer() };
    let found = metadata(enforcing.clone(), "10.1.1.1:1234", "10.2.2.2:80").unwrap();
    assert_eq!((found.pod.as_str(), found.ingress_policy.as_str()), ("10.1.1.1", "10.1.1.42"));
    assert_eq!(found.ingress_source_identity, 111);
    assert!(!found.allow_egress);
    let named = BpfMetadata { l7lb_policy_name: "gateway".to_owned(), ..enforcing };
    assert_eq!(metadata(named, "10.1.1.1:1234", "10.2.2.2:80").unwrap().ingress_policy, "gateway");
}

#[test]
fn north_south_needs_an_identity_for_its_address() {
    let unknown = BpfMetadata { ipv4_source_address: "192.0.2.42".to_owned(), ..balancer() };
    assert!(metadata(unknown, "192.0.2.1:1234", "10.2.2.2:80").is_err());
}

#[test]
fn east_west_keeps_the_addresses_of_local_endpoints_only() {
    let east_west = BpfMetadata { use_original_source_address: true, ..balancer() };
    let found = metadata(east_west.clone(), "10.1.1.1:41234", "10.2.2.2:80").unwrap();
    assert_eq!(found.mark, 2048 << 16 | 0x0900);
    assert_eq!(found.source_ipv4, Some("10.1.1.1:41234".parse().unwrap()));
    assert_eq!(found.source_ipv6, Some("[face::1:1:1]:41234".parse().unwrap()));
    assert!(metadata(east_west, "192.168.1.1:12345", "10.2.2.2:80").is_err());
}

#[test]
fn local_endpoint_replaces_what_a_datapath_would_tell() {
    let local = LocalEndpoint { endpoint_ip: "10.1.1.1".to_owned(), port: 80, destination_ip: "10.2.2.9".to_owned() };
    let message = BpfMetadata { local_endpoint: Some(local), ..BpfMetadata::default() };
    let found = metadata(message, "127.0.0.1:1234", "127.0.0.1:15001").unwrap();
    assert_eq!((found.pod.as_str(), found.port, found.source_identity), ("10.1.1.1", 80, 111));
    assert_eq!(found.destination, Some("10.2.2.9".parse::<IpAddr>().unwrap()));
}

#[test]
fn configuration_errors_are_those_of_the_reference() {
    let error = |message: &BpfMetadata| Config::new(message).unwrap_err().0;
    let both = BpfMetadata { is_ingress: true, is_l7lb: true, ..BpfMetadata::default() };
    assert_eq!(error(&both), "cilium.bpf_metadata: is_l7lb may not be set with is_ingress");
    let ipv6 = BpfMetadata { ipv6_source_address: "invalid".to_owned(), ..BpfMetadata::default() };
    assert_eq!(error(&ipv6), "cilium.bpf_metadata: ipv6_source_address is not an IPv6 address: invalid");
    let ipv4 = BpfMetadata { ipv4_source_address: "::1".to_owned(), ..BpfMetadata::default() };
    assert_eq!(error(&ipv4), "cilium.bpf_metadata: ipv4_source_address is not an IPv4 address: ::1");
}

#[test]
fn context_survives_the_filter_state() {
    for destination in [None, Some("10.9.8.7"), Some("2001:db8::1")] {
        let mut found =
            metadata(BpfMetadata { enforce_policy_on_l7lb: true, ..balancer() }, "10.1.1.1:1", "10.2.2.2:80");
        let found = found.as_mut().unwrap();
        found.destination = destination.map(|ip| ip.parse().unwrap());
        let bytes = Context::encode(found, Source::HOSTS);
        let context = Context::decode(&bytes).unwrap();
        assert_eq!((context.pod, context.ingress_policy), ("10.1.1.1", "10.1.1.42"));
        assert_eq!((context.port, context.ingress_source_identity, context.l7lb), (80, 111, true));
        assert_eq!((context.destination, context.identities), (found.destination, Source::HOSTS));
    }
    assert_eq!(Context::decode(b"short"), None);
}
