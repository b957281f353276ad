//! Replies to denied requests.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AlterConfigsRequest,
    AlterConfigsResponse, ApiKey, ConsumerGroupHeartbeatResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest, DeleteGroupsResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeAclsResponse,
    DescribeClientQuotasResponse, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, DescribeLogDirsResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, DescribeUserScramCredentialsResponse, ElectLeadersResponse, EndTxnResponse,
    FetchRequest, FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupResponse,
    LeaveGroupResponse, ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListPartitionReassignmentsResponse, ListTransactionsResponse, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse,
    SaslAuthenticateResponse, SaslHandshakeResponse, ShareAcknowledgeResponse, ShareFetchResponse,
    ShareGroupHeartbeatResponse, SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    add_partitions_to_txn_response, alter_configs_response, create_partitions_response, create_topics_response,
    delete_groups_response, delete_records_response, delete_topics_response, describe_configs_response,
    describe_groups_response, describe_topic_partitions_response, fetch_response, find_coordinator_response,
    incremental_alter_configs_response, list_offsets_response, metadata_response, offset_commit_response,
    offset_fetch_response, offset_for_leader_epoch_response, produce_response, txn_offset_commit_response,
};
use kafka_protocol::protocol::Encodable;

use crate::kafka::decode::decode;

/// `TOPIC_AUTHORIZATION_FAILED`
pub(crate) const TOPIC: i16 = 29;
/// `UNKNOWN_TOPIC_ID`: the client asks for metadata, from which the name is learnt.
pub(crate) const UNKNOWN_TOPIC_ID: i16 = 100;
/// `FETCH_SESSION_ID_NOT_FOUND`: the client starts over, with all topics.
pub(crate) const UNKNOWN_SESSION: i16 = 70;
const GROUP: i16 = 30;
const CLUSTER: i16 = 31;
const TRANSACTION: i16 = 53;

/// The error of a denied request: of topics, of the group, of the transaction or of the cluster.
pub(crate) fn error_code(api_key: ApiKey, idempotence: bool) -> i16 {
    match api_key {
        ApiKey::FindCoordinator
        | ApiKey::JoinGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::DescribeGroups
        | ApiKey::DeleteGroups
        | ApiKey::ConsumerGroupDescribe
        | ApiKey::ShareGroupDescribe => GROUP,
        ApiKey::InitProducerId if idempotence => CLUSTER,
        ApiKey::InitProducerId | ApiKey::AddOffsetsToTxn | ApiKey::EndTxn => TRANSACTION,
        ApiKey::ListGroups
        | ApiKey::SaslHandshake
        | ApiKey::SaslAuthenticate
        | ApiKey::DescribeAcls
        | ApiKey::CreateAcls
        | ApiKey::DeleteAcls
        | ApiKey::DescribeCluster
        | ApiKey::DescribeClientQuotas
        | ApiKey::AlterClientQuotas
        | ApiKey::DescribeUserScramCredentials
        | ApiKey::ListTransactions => CLUSTER,
        _ => TOPIC,
    }
}

/// A whole message: length, header, body.
pub(crate) fn message<T: Encodable>(body: &T, api_key: ApiKey, version: i16, correlation_id: i32) -> Option<Vec<u8>> {
    let mut buffer = BytesMut::new();
    body.encode(&mut buffer, version).ok()?;
    let tags: &[u8] = if api_key.response_header_version(version) >= 1 { &[0] } else { &[] };
    let length = i32::try_from(4 + tags.len() + buffer.len()).ok()?;
    Some([&length.to_be_bytes()[..], &correlation_id.to_be_bytes(), tags, &buffer].concat())
}

/// Maps a list to a list of another type, given that type's default value.
fn each<T, U: Default>(list: &[T], make: impl Fn(&T, U) -> U) -> Vec<U> {
    list.iter().map(|item| make(item, U::default())).collect()
}

/// The reply with which a denied request is answered; `None` if the request is malformed or has no such reply.
#[expect(clippy::too_many_lines, reason = "one arm per API")]
pub(crate) fn denial(api_key: ApiKey, version: i16, correlation_id: i32, body: &[u8], code: i16) -> Option<Vec<u8>> {
    /// A reply with an error of its own.
    macro_rules! plain {
        ($response:ty) => {
            message(&<$response>::default().with_error_code(code), api_key, version, correlation_id)
        };
    }
    /// The request, and a reply made of it.
    macro_rules! reply {
        ($request:ty, |$r:ident| $response:expr) => {{
            let $r = decode::<$request>(body, version)?;
            message(&$response, api_key, version, correlation_id)
        }};
    }
    match api_key {
        ApiKey::Produce => reply!(ProduceRequest, |r| ProduceResponse::default().with_responses(each(
            &r.topic_data,
            |topic, result: produce_response::TopicProduceResponse| result
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(each(
                    &topic.partition_data,
                    |partition, result: produce_response::PartitionProduceResponse| {
                        result
                            .with_index(partition.index)
                            .with_error_code(code)
                            .with_base_offset(-1)
                            .with_log_append_time_ms(-1)
                    }
                ))
        ))),
        ApiKey::Fetch if code != TOPIC && code != UNKNOWN_TOPIC_ID => plain!(FetchResponse),
        ApiKey::Fetch => reply!(FetchRequest, |r| FetchResponse::default().with_responses(each(
            &r.topics,
            |topic, result: fetch_response::FetchableTopicResponse| result
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(each(&topic.partitions, |partition, result: fetch_response::PartitionData| result
                    .with_partition_index(partition.partition)
                    .with_error_code(code)
                    .with_high_watermark(-1)
                    .with_records(Some(Bytes::new()))))
        ))),
        ApiKey::ListOffsets => reply!(ListOffsetsRequest, |r| ListOffsetsResponse::default().with_topics(each(
            &r.topics,
            |topic, result: list_offsets_response::ListOffsetsTopicResponse| result
                .with_name(topic.name.clone())
                .with_partitions(each(
                    &topic.partitions,
                    |partition, result: list_offsets_response::ListOffsetsPartitionResponse| result
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                ))
        ))),
        ApiKey::Metadata => reply!(MetadataRequest, |r| MetadataResponse::default().with_topics(each(
            r.topics.as_deref().unwrap_or_default(),
            |topic, result: metadata_response::MetadataResponseTopic| result
                .with_name(Some(topic.name.clone().unwrap_or_default()))
                .with_topic_id(topic.topic_id)
                .with_error_code(code)
        ))),
        ApiKey::OffsetCommit => reply!(OffsetCommitRequest, |r| OffsetCommitResponse::default().with_topics(each(
            &r.topics,
            |topic, result: offset_commit_response::OffsetCommitResponseTopic| result
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(each(
                    &topic.partitions,
                    |partition, result: offset_commit_response::OffsetCommitResponsePartition| {
                        result.with_partition_index(partition.partition_index).with_error_code(code)
                    }
                ))
        ))),
        ApiKey::OffsetFetch => reply!(OffsetFetchRequest, |r| {
            let topics = each(
                r.topics.as_deref().unwrap_or_default(),
                |topic, result: offset_fetch_response::OffsetFetchResponseTopic| {
                    result.with_name(topic.name.clone()).with_partitions(each(
                        &topic.partition_indexes,
                        |index, result: offset_fetch_response::OffsetFetchResponsePartition| {
                            result.with_partition_index(*index).with_error_code(code).with_committed_offset(-1)
                        },
                    ))
                },
            );
            let groups = each(&r.groups, |group, result: offset_fetch_response::OffsetFetchResponseGroup| {
                result.with_group_id(group.group_id.clone()).with_error_code(code)
            });
            let response = OffsetFetchResponse::default();
            if version < 8 {
                response.with_topics(topics).with_error_code(if version >= 2 { code } else { 0 })
            } else {
                response.with_groups(groups)
            }
        }),
        ApiKey::FindCoordinator => reply!(FindCoordinatorRequest, |r| {
            let coordinators = each(&r.coordinator_keys, |key, result: find_coordinator_response::Coordinator| {
                result.with_key(key.clone()).with_node_id((-1).into()).with_port(-1).with_error_code(code)
            });
            let response = FindCoordinatorResponse::default();
            if version < 4 {
                response.with_error_code(code).with_node_id((-1).into()).with_port(-1)
            } else {
                response.with_coordinators(coordinators)
            }
        }),
        ApiKey::DescribeGroups => reply!(DescribeGroupsRequest, |r| DescribeGroupsResponse::default().with_groups(
            each(&r.groups, |group, result: describe_groups_response::DescribedGroup| result
                .with_group_id(group.clone())
                .with_error_code(code))
        )),
        ApiKey::DeleteGroups => reply!(DeleteGroupsRequest, |r| DeleteGroupsResponse::default().with_results(each(
            &r.groups_names,
            |group, result: delete_groups_response::DeletableGroupResult| result
                .with_group_id(group.clone())
                .with_error_code(code)
        ))),
        ApiKey::CreateTopics => reply!(CreateTopicsRequest, |r| CreateTopicsResponse::default().with_topics(each(
            &r.topics,
            |topic, result: create_topics_response::CreatableTopicResult| result
                .with_name(topic.name.clone())
                .with_error_code(code)
        ))),
        ApiKey::DeleteTopics => reply!(DeleteTopicsRequest, |r| {
            let named = each(&r.topic_names, |name, result: delete_topics_response::DeletableTopicResult| {
                result.with_name(Some(name.clone())).with_error_code(code)
            });
            let states = each(&r.topics, |topic, result: delete_topics_response::DeletableTopicResult| {
                result.with_name(topic.name.clone()).with_topic_id(topic.topic_id).with_error_code(code)
            });
            DeleteTopicsResponse::default().with_responses([named, states].concat())
        }),
        ApiKey::DeleteRecords => reply!(DeleteRecordsRequest, |r| DeleteRecordsResponse::default().with_topics(each(
            &r.topics,
            |topic, result: delete_records_response::DeleteRecordsTopicResult| result
                .with_name(topic.name.clone())
                .with_partitions(each(
                    &topic.partitions,
                    |partition, result: delete_records_response::DeleteRecordsPartitionResult| result
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                ))
        ))),
        ApiKey::OffsetForLeaderEpoch => {
            reply!(OffsetForLeaderEpochRequest, |r| OffsetForLeaderEpochResponse::default().with_topics(each(
                &r.topics,
                |topic, result: offset_for_leader_epoch_response::OffsetForLeaderTopicResult| result
                    .with_topic(topic.topic.clone())
                    .with_partitions(each(
                        &topic.partitions,
                        |partition, result: offset_for_leader_epoch_response::EpochEndOffset| {
                            result.with_partition(partition.partition).with_error_code(code)
                        }
                    ))
            )))
        }
        ApiKey::AddPartitionsToTxn => reply!(AddPartitionsToTxnRequest, |r| {
            let response = AddPartitionsToTxnResponse::default();
            if version >= 4 {
                response.with_error_code(code)
            } else {
                response.with_results_by_topic_v3_and_below(each(
                    &r.v3_and_below_topics,
                    |topic, result: add_partitions_to_txn_response::AddPartitionsToTxnTopicResult| {
                        result.with_name(topic.name.clone()).with_results_by_partition(each(
                            &topic.partitions,
                            |index, result: add_partitions_to_txn_response::AddPartitionsToTxnPartitionResult| {
                                result.with_partition_index(*index).with_partition_error_code(code)
                            },
                        ))
                    },
                ))
            }
        }),
        ApiKey::TxnOffsetCommit => reply!(TxnOffsetCommitRequest, |r| TxnOffsetCommitResponse::default().with_topics(
            each(&r.topics, |topic, result: txn_offset_commit_response::TxnOffsetCommitResponseTopic| result
                .with_name(topic.name.clone())
                .with_partitions(each(
                    &topic.partitions,
                    |partition, result: txn_offset_commit_response::TxnOffsetCommitResponsePartition| result
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                )))
        )),
        ApiKey::DescribeConfigs => reply!(DescribeConfigsRequest, |r| DescribeConfigsResponse::default().with_results(
            each(&r.resources, |resource, result: describe_configs_response::DescribeConfigsResult| result
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_error_code(code))
        )),
        ApiKey::AlterConfigs => reply!(AlterConfigsRequest, |r| AlterConfigsResponse::default().with_responses(each(
            &r.resources,
            |resource, result: alter_configs_response::AlterConfigsResourceResponse| result
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_error_code(code)
        ))),
        ApiKey::IncrementalAlterConfigs => {
            reply!(IncrementalAlterConfigsRequest, |r| IncrementalAlterConfigsResponse::default().with_responses(each(
                &r.resources,
                |resource, result: incremental_alter_configs_response::AlterConfigsResourceResponse| {
                    result
                        .with_resource_type(resource.resource_type)
                        .with_resource_name(resource.resource_name.clone())
                        .with_error_code(code)
                }
            )))
        }
        ApiKey::CreatePartitions => reply!(CreatePartitionsRequest, |r| CreatePartitionsResponse::default()
            .with_results(each(
                &r.topics,
                |topic, result: create_partitions_response::CreatePartitionsTopicResult| result
                    .with_name(topic.name.clone())
                    .with_error_code(code)
            ))),
        ApiKey::DescribeTopicPartitions => {
            reply!(DescribeTopicPartitionsRequest, |r| DescribeTopicPartitionsResponse::default().with_topics(each(
                &r.topics,
                |topic, result: describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic| {
                    result.with_name(Some(topic.name.clone())).with_error_code(code)
                }
            )))
        }
        ApiKey::JoinGroup => plain!(JoinGroupResponse),
        ApiKey::Heartbeat => plain!(HeartbeatResponse),
        ApiKey::LeaveGroup => plain!(LeaveGroupResponse),
        ApiKey::SyncGroup => plain!(SyncGroupResponse),
        ApiKey::ListGroups => plain!(ListGroupsResponse),
        ApiKey::SaslHandshake => plain!(SaslHandshakeResponse),
        ApiKey::SaslAuthenticate => plain!(SaslAuthenticateResponse),
        ApiKey::InitProducerId => plain!(InitProducerIdResponse),
        ApiKey::AddOffsetsToTxn => plain!(AddOffsetsToTxnResponse),
        ApiKey::EndTxn => plain!(EndTxnResponse),
        ApiKey::DescribeAcls => plain!(DescribeAclsResponse),
        ApiKey::DescribeLogDirs if version >= 3 => plain!(DescribeLogDirsResponse),
        ApiKey::DescribeCluster => plain!(DescribeClusterResponse),
        ApiKey::DescribeClientQuotas => plain!(DescribeClientQuotasResponse),
        ApiKey::DescribeUserScramCredentials => plain!(DescribeUserScramCredentialsResponse),
        ApiKey::ElectLeaders if version >= 1 => plain!(ElectLeadersResponse),
        ApiKey::ListPartitionReassignments => plain!(ListPartitionReassignmentsResponse),
        ApiKey::ListTransactions => plain!(ListTransactionsResponse),
        ApiKey::OffsetDelete => plain!(OffsetDeleteResponse),
        ApiKey::ConsumerGroupHeartbeat => plain!(ConsumerGroupHeartbeatResponse),
        ApiKey::ShareGroupHeartbeat => plain!(ShareGroupHeartbeatResponse),
        ApiKey::ShareFetch => plain!(ShareFetchResponse),
        ApiKey::ShareAcknowledge => plain!(ShareAcknowledgeResponse),
        _ => None,
    }
}
