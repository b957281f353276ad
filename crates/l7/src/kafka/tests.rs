use bytes::BytesMut;
use cilium_policy::KafkaRule;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, ApiKey, ApiVersionsRequest, DescribeTopicPartitionsRequest, FetchRequest, FetchResponse,
    HeartbeatRequest, HeartbeatResponse, InitProducerIdRequest, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, RequestHeader,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use crate::kafka::decode::decode;
use crate::kafka::reply::message;
use crate::kafka::{Request, matches};
use crate::testing::{Harness, transcript};

fn topic(topic: &str) -> KafkaRule {
    KafkaRule { api_version: -1, topic: topic.into(), ..KafkaRule::default() }
}

fn keys(api_keys: &[i32]) -> KafkaRule {
    KafkaRule { api_version: -1, api_keys: api_keys.to_vec(), ..KafkaRule::default() }
}

pub(super) fn request(api_key: ApiKey, version: i16, correlation_id: i32, body: &impl Encodable) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(api_key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("client")));
    let mut buffer = BytesMut::new();
    header.encode(&mut buffer, api_key.request_header_version(version)).unwrap();
    body.encode(&mut buffer, version).unwrap();
    [&i32::try_from(buffer.len()).unwrap().to_be_bytes()[..], &buffer].concat()
}

fn produce(topic: &str, acks: i16, version: i16, correlation_id: i32) -> Vec<u8> {
    let partition = PartitionProduceData::default().with_index(3_000_000).with_records(Some(vec![1, 2, 3].into()));
    let data = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![partition]);
    let body = ProduceRequest::default().with_acks(acks).with_timeout_ms(30_000).with_topic_data(vec![data]);
    request(ApiKey::Produce, version, correlation_id, &body)
}

fn name(topic: &str) -> kafka_protocol::messages::TopicName {
    StrBytes::from_string(topic.to_owned()).into()
}

fn metadata(topics: &[&str], version: i16, correlation_id: i32) -> Vec<u8> {
    let topics = topics.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic)))).collect();
    request(ApiKey::Metadata, version, correlation_id, &MetadataRequest::default().with_topics(Some(topics)))
}

fn body(reply: &[u8], tagged: bool) -> &[u8] {
    &reply[if tagged { 9 } else { 8 }..]
}

#[test]
fn produce_is_denied_per_partition_in_every_version() {
    for version in 3..=12 {
        let mut harness = Harness::kafka(&[topic("allowed")]);
        assert_eq!(harness.client(&produce("secret", 1, version, 77)), b"");
        let reply = harness.reverse(true);
        assert_eq!(reply[4..8], 77_i32.to_be_bytes());
        let response = decode::<ProduceResponse>(body(&reply, version >= 9), version).unwrap();
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.index, partition.error_code), (3_000_000, 29), "version {version}");
        assert_eq!(harness.records[0].kafka().correlation_id, 77);
        assert_eq!(harness.records[0].kafka().topics, ["secret"]);
        assert!(!harness.client(&produce("allowed", 1, version, 78)).is_empty());
    }
}

#[test]
fn produce_without_acknowledgement_gets_no_reply() {
    let mut harness = Harness::kafka(&[topic("allowed")]);
    assert_eq!(harness.client(&produce("secret", 0, 9, 1)), b"");
    assert_eq!(harness.reverse(true), b"");
    assert!(!harness.client(&produce("allowed", 0, 9, 2)).is_empty());
    // Nothing is owed, so the next denial need not wait.
    harness.client(&produce("secret", 1, 9, 3));
    assert_eq!(harness.reverse(true)[4..8], 3_i32.to_be_bytes());
}

#[test]
fn denials_wait_for_the_replies_before_them() {
    let mut harness = Harness::kafka(&[topic("allowed")]);
    let sent = [produce("allowed", 1, 9, 1), produce("secret", 1, 9, 2), produce("allowed", 1, 9, 3)].concat();
    harness.client(&sent);
    assert_eq!(harness.reverse(true), b"");
    let reply = |id| message(&ProduceResponse::default(), ApiKey::Produce, 9, id).unwrap();
    let received = harness.server(&[reply(1), reply(3)].concat());
    assert!(received.starts_with(&reply(1)) && received.ends_with(&reply(3)));
    let denial = &received[reply(1).len()..received.len() - reply(3).len()];
    assert_eq!(denial[4..8], 2_i32.to_be_bytes());
    let logged: Vec<_> = harness.records.iter().map(|record| record.kafka().correlation_id).collect();
    assert_eq!(logged, [1, 2, 3, 1, 3]);
}

#[test]
fn versions_are_negotiated_under_any_rules() {
    let mut harness = Harness::kafka(&[keys(&[0])]);
    for version in 0..=4 {
        let negotiation = request(ApiKey::ApiVersions, version, 1, &ApiVersionsRequest::default());
        assert_eq!(harness.client(&negotiation), negotiation);
    }
}

#[test]
fn denied_metadata_has_the_brokers_and_the_error() {
    for version in [1, 8, 9, 12] {
        let mut harness = Harness::kafka(&[topic("allowed")]);
        let sent = harness.client(&metadata(&["secret"], version, 5));
        assert_eq!(sent, metadata(&[], version, 5), "version {version}");
        let broker = MetadataResponseBroker::default().with_node_id(1.into()).with_host("b".into()).with_port(9092);
        let response = MetadataResponse::default().with_brokers(vec![broker]);
        let reply = harness.server(&message(&response, ApiKey::Metadata, version, 5).unwrap());
        let response = decode::<MetadataResponse>(body(&reply, version >= 9), version).unwrap();
        assert_eq!(response.brokers.len(), 1);
        assert_eq!(response.topics[0].error_code, 29);
        assert_eq!(response.topics[0].name.as_ref().unwrap().as_str(), "secret");
    }
}

fn metadata_reply(topics: &[&str], version: i16) -> Vec<u8> {
    let topic = |topic: &&str| MetadataResponseTopic::default().with_name(Some(name(topic)));
    let response = MetadataResponse::default().with_topics(topics.iter().map(topic).collect());
    message(&response, ApiKey::Metadata, version, 5).unwrap()
}

fn errors(reply: &[u8], version: i16) -> Vec<(String, i16)> {
    let response = decode::<MetadataResponse>(body(reply, version >= 9), version).unwrap();
    let topics = response.topics.into_iter();
    topics.map(|topic| (topic.name.unwrap().to_string(), topic.error_code)).collect()
}

#[test]
fn a_denied_topic_does_not_hide_others() {
    for version in [1, 8, 9, 12] {
        let mut harness = Harness::kafka(&[topic("a"), topic("b")]);
        let asked = metadata(&["a", "secret", "b"], version, 5);
        assert_eq!(harness.client(&asked), metadata(&["a", "b"], version, 5), "version {version}");
        let reply = harness.server(&metadata_reply(&["a", "b"], version));
        let expected = [("a".to_owned(), 0), ("b".to_owned(), 0), ("secret".to_owned(), 29)];
        assert_eq!(errors(&reply, version), expected);
        let logged: Vec<_> = harness.records.iter().map(|record| &record.kafka().topics[..]).collect();
        assert_eq!(logged[..2], [&["secret".to_owned()][..], &["a".to_owned(), "b".to_owned()]]);
    }
}

#[test]
fn all_topics_are_all_that_are_allowed() {
    let all = request(ApiKey::Metadata, 9, 5, &MetadataRequest::default().with_topics(None));
    let mut harness = Harness::kafka(&[topic("a")]);
    assert_eq!(harness.client(&all), all);
    let reply = harness.server(&metadata_reply(&["secret", "a"], 9));
    assert_eq!(errors(&reply, 9), [("a".to_owned(), 0)]);
    assert_eq!(Harness::kafka(&[keys(&[3])]).client(&all), all);
    assert_eq!(Harness::kafka(&[keys(&[0])]).client(&all), b"");
}

#[test]
fn other_requests_for_all_topics_need_a_rule_for_all_topics() {
    let all = request(ApiKey::DescribeTopicPartitions, 0, 1, &DescribeTopicPartitionsRequest::default());
    assert_eq!(Harness::kafka(&[topic("a")]).client(&all), b"");
    assert_eq!(Harness::kafka(&[keys(&[75])]).client(&all), all);
}

fn fetch(topics: Vec<FetchTopic>, session: (i32, i32), version: i16) -> Vec<u8> {
    let body = FetchRequest::default().with_session_id(session.0).with_session_epoch(session.1).with_topics(topics);
    request(ApiKey::Fetch, version, 9, &body)
}

#[test]
fn topic_ids_are_resolved_by_metadata_replies() {
    let mut harness = Harness::kafka(&[topic("allowed")]);
    let id = Uuid::from_u128(7);
    let by_id = fetch(
        vec![FetchTopic::default().with_topic_id(id).with_partitions(vec![FetchPartition::default()])],
        (0, 0),
        13,
    );
    assert_eq!(harness.client(&by_id), b"");
    let denial = harness.reverse(true);
    let response = decode::<FetchResponse>(body(&denial, true), 13).unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, 100, "the client is to ask for metadata");
    harness.client(&metadata(&["allowed"], 12, 1));
    let topic = MetadataResponseTopic::default().with_name(Some(name("allowed"))).with_topic_id(id);
    let response = MetadataResponse::default().with_topics(vec![topic]);
    harness.server(&message(&response, ApiKey::Metadata, 12, 1).unwrap());
    assert_eq!(harness.client(&by_id), by_id);
}

#[test]
fn fetch_sessions_do_not_outlive_the_policy() {
    let mut harness = Harness::kafka(&[topic("a")]);
    let start = fetch(vec![FetchTopic::default().with_topic(name("a"))], (0, 0), 11);
    let next = |epoch| fetch(Vec::new(), (42, epoch), 11);
    assert_eq!(harness.client(&next(1)), b"", "a session of another connection");
    harness.reverse(true);
    assert_eq!(harness.client(&start), start);
    harness.server(&message(&FetchResponse::default().with_session_id(42), ApiKey::Fetch, 11, 9).unwrap());
    assert_eq!(harness.client(&next(1)), next(1));
    harness.server(&message(&FetchResponse::default().with_session_id(42), ApiKey::Fetch, 11, 9).unwrap());
    harness.kafka_rules(&[topic("b")]);
    assert_eq!(harness.client(&next(2)), b"");
    let response = decode::<FetchResponse>(body(&harness.reverse(true), false), 11).unwrap();
    assert_eq!(response.error_code, 70, "the client starts over");
}

#[test]
fn groups_get_the_error_of_groups() {
    let mut harness = Harness::kafka(&[keys(&[0])]);
    assert_eq!(harness.client(&request(ApiKey::Heartbeat, 4, 1, &HeartbeatRequest::default())), b"");
    let response = decode::<HeartbeatResponse>(body(&harness.reverse(true), true), 4).unwrap();
    assert_eq!(response.error_code, 30);
}

#[test]
fn whoever_may_produce_may_have_a_producer_id() {
    let plain = request(ApiKey::InitProducerId, 4, 1, &InitProducerIdRequest::default().with_transactional_id(None));
    assert_eq!(Harness::kafka(&[keys(&[0])]).client(&plain), plain);
    assert_eq!(Harness::kafka(&[keys(&[1])]).client(&plain), b"");
    let transaction =
        InitProducerIdRequest::default().with_transactional_id(Some(StrBytes::from_static_str("t").into()));
    assert_eq!(Harness::kafka(&[keys(&[0])]).client(&request(ApiKey::InitProducerId, 4, 1, &transaction)), b"");
}

#[test]
fn rules_allow_the_topics_of_a_request_together() {
    let rules = [topic("a"), topic("b")];
    let request =
        |topics: &[&str]| Request { topics: topics.iter().map(|t| (*t).to_owned()).collect(), ..Request::default() };
    assert!(matches(&rules, &request(&["a", "b"])));
    assert!(!matches(&rules, &request(&["a", "c"])));
    assert!(!matches(&[], &request(&[])));
    let other_client = KafkaRule { client_id: "x".into(), ..topic("b") };
    assert!(!matches(&[topic("a"), other_client], &request(&["a", "b"])));
}

#[test]
fn rules_name_the_apis_of_requests_without_topics() {
    let rules = [keys(&[3]), keys(&[18])];
    assert!(matches(&rules, &Request { api_key: 18, ..Request::default() }));
    assert!(!matches(&rules, &Request { api_key: 19, ..Request::default() }));
}

#[test]
fn arrays_that_claim_more_than_there_is_close() {
    let mut old = metadata(&["a"], 1, 1);
    let end = old.len() - 7;
    old[end..end + 4].copy_from_slice(&0x7fff_ffff_i32.to_be_bytes());
    assert!(Harness::kafka(&[]).try_client(&old).is_err());
    let mut new = metadata(&[], 9, 1);
    let length = new.len();
    new.splice(length - 5.., [0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(Harness::kafka(&[]).try_client(&new).is_err());
    // The boolean before the array looks like the start of the count.
    let transaction = AddPartitionsToTxnTransaction::default().with_verify_only(true);
    let transactions = AddPartitionsToTxnRequest::default().with_transactions(vec![transaction]);
    let mut odd = request(ApiKey::AddPartitionsToTxn, 5, 1, &transactions);
    let length = odd.len();
    assert_eq!(odd[length - 4..], [1, 1, 0, 0]);
    odd.splice(length - 4.., [0x81, 0x80, 0x80, 0x80, 0x80, 0x0f]);
    let length = i32::try_from(odd.len() - 4).unwrap();
    odd[..4].copy_from_slice(&length.to_be_bytes());
    assert!(Harness::kafka(&[]).try_client(&odd).is_err());
}

#[test]
fn items_without_number_close() {
    for (items, taken) in [(100_000, true), (1_000_000, false)] {
        let topics = vec![TopicProduceData::default(); items];
        let body = ProduceRequest::default().with_acks(1).with_topic_data(topics);
        let request = request(ApiKey::Produce, 9, 1, &body);
        assert_eq!(Harness::kafka(&[topic("")]).try_client(&request).is_ok(), taken);
    }
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_result(cuts in prop::collection::vec(1_usize..60, 1..20)) {
        let reply = |id| message(&ProduceResponse::default(), ApiKey::Produce, 9, id).unwrap();
        let metadata_reply = message(&MetadataResponse::default(), ApiKey::Metadata, 9, 4).unwrap();
        let conversation = vec![
            (false, [produce("a", 1, 9, 1), produce("b", 1, 9, 2), produce("a", 1, 5, 3), metadata(&["b"], 9, 4), produce("b", 1, 9, 5)].concat()),
            (true, [reply(1), reply(3), metadata_reply].concat()),
        ];
        let whole = transcript(&mut Harness::kafka(&[topic("a")]), &conversation, &[]);
        prop_assert_eq!(&whole.3, &None);
        let cut = transcript(&mut Harness::kafka(&[topic("a")]), &conversation, &cuts);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn arbitrary_bodies_never_panic(key in 0_i16..95, version in 0_i16..20, bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let mut frame = vec![0, 0, 0, 0];
        frame.extend(key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend([0, 0, 0, 1, 0xff, 0xff]);
        frame.extend(bytes);
        let length = i32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        transcript(&mut Harness::kafka(&[topic("a")]), &[(false, frame.clone()), (true, frame)], &[]);
    }
}
