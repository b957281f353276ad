use kafka_protocol::messages::ApiVersionsRequest;

use super::*;
use crate::kafka::tests::request;
use crate::testing::Harness;

fn offer(api_key: i16, min: i16, max: i16) -> ApiVersion {
    ApiVersion::default().with_api_key(api_key).with_min_version(min).with_max_version(max)
}

fn reply(version: i16, error: i16, offers: &[ApiVersion]) -> Vec<u8> {
    let body = ApiVersionsResponse::default().with_error_code(error).with_api_keys(offers.to_vec());
    message(&body, ApiKey::ApiVersions, version, 7).unwrap()
}

fn ask(version: i16) -> Vec<u8> {
    request(ApiKey::ApiVersions, version.min(4), 7, &ApiVersionsRequest::default())
}

#[test]
fn newer_servers_are_made_out_to_know_what_can_be_read() {
    let top = |api_key: ApiKey| api_key.valid_versions().max;
    let (produce, fetch) = (top(ApiKey::Produce), top(ApiKey::Fetch));
    for version in 0..=4 {
        let mut harness = Harness::kafka(&[]);
        assert!(!harness.client(&ask(version)).is_empty());
        let offers = [offer(0, 3, i16::MAX), offer(1, 4, fetch - 1), offer(3, i16::MAX, i16::MAX), offer(9999, 0, 1)];
        let clipped = [offer(0, 3, produce), offer(1, 4, fetch - 1)];
        assert_eq!(harness.server(&reply(version, 0, &offers)), reply(version, 0, &clipped), "version {version}");
    }
}

#[test]
fn a_server_that_does_not_know_the_version_is_passed_on() {
    let mut harness = Harness::kafka(&[]);
    harness.client(&ask(4));
    let answer = reply(0, UNSUPPORTED_VERSION, &[offer(18, 0, 3)]);
    assert_eq!(harness.server(&answer), answer);
}

#[test]
fn clients_that_are_newer_ask_again() {
    let mut harness = Harness::kafka(&[]);
    let mut newer = ask(4);
    newer[7] = 99;
    assert_eq!(harness.client(&newer), b"");
    assert_eq!(harness.reverse(true), reply(0, UNSUPPORTED_VERSION, &[offer(18, 0, 4)]));
    assert!(!harness.client(&ask(4)).is_empty());
}

#[test]
fn unknown_versions_of_other_apis_close_as_a_broker_does() {
    for (api_key, version) in [(0, 99), (9999, 0)] {
        let mut harness = Harness::kafka(&[]);
        let mut bad = ask(4);
        bad[4..6].copy_from_slice(&i16::to_be_bytes(api_key));
        bad[6..8].copy_from_slice(&i16::to_be_bytes(version));
        let closed = harness.try_client(&bad).unwrap_err();
        assert!(closed.reason.contains(&format!("version {version} of API {api_key}")), "{closed}");
        assert_eq!(harness.records[0].kafka().error_code, 35);
    }
}

#[test]
fn a_malformed_offer_closes() {
    let mut harness = Harness::kafka(&[]);
    harness.client(&ask(3));
    let mut bad = reply(3, 0, &[offer(0, 0, 1)]);
    bad[10] = 0x7f;
    assert!(harness.try_server(&bad).is_err());
}
