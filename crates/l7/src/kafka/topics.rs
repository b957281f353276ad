//! Which topics a request is about.

use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest,
    ApiKey, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, ElectLeadersRequest, FetchRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, ListOffsetsRequest, ListPartitionReassignmentsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, ShareAcknowledgeRequest,
    ShareFetchRequest, ShareGroupHeartbeatRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};
use uuid::Uuid;

use crate::kafka::decode::decode;

/// The topics a request names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) names: Vec<String>,
    pub(crate) ids: Vec<Uuid>,
    /// It is about others too.
    pub(crate) any: bool,
    pub(crate) idempotence: bool,
    /// The client waits for no reply.
    pub(crate) no_reply: bool,
    pub(crate) fetch: Option<FetchSession>,
}

/// A fetch that continues an earlier one, or that may be continued.
#[derive(Debug)]
pub(crate) struct FetchSession {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    pub(crate) forgotten: Vec<String>,
    pub(crate) forgotten_ids: Vec<Uuid>,
}

impl Named {
    fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { names: names.into_iter().map(str::to_owned).collect(), ..Self::default() }
    }

    /// Topics that are named in older versions, and have ids in newer ones.
    fn mixed<'a>(topics: impl IntoIterator<Item = (&'a str, Uuid)>) -> Self {
        let mut named = Self::default();
        for (name, id) in topics {
            named.add(name, id);
        }
        named
    }

    fn add(&mut self, name: &str, id: Uuid) {
        if !id.is_nil() {
            self.ids.push(id);
        }
        if !name.is_empty() || id.is_nil() {
            self.names.push(name.to_owned());
        }
    }

    fn any() -> Self {
        Self { any: true, ..Self::default() }
    }
}

/// Topics among resources of configurations.
fn resources<'a>(resources: impl IntoIterator<Item = (i8, &'a str)>) -> Named {
    const TOPIC: i8 = 2;
    Named::names(resources.into_iter().filter(|(kind, _)| *kind == TOPIC).map(|(_, name)| name))
}

/// APIs that are not about topics, or about none that a rule could name.
fn has_no_topics(api_key: ApiKey) -> bool {
    matches!(
        api_key,
        ApiKey::FindCoordinator
            | ApiKey::JoinGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::SyncGroup
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::SaslHandshake
            | ApiKey::ApiVersions
            | ApiKey::AddOffsetsToTxn
            | ApiKey::EndTxn
            | ApiKey::DescribeAcls
            | ApiKey::CreateAcls
            | ApiKey::DeleteAcls
            | ApiKey::SaslAuthenticate
            | ApiKey::CreateDelegationToken
            | ApiKey::RenewDelegationToken
            | ApiKey::ExpireDelegationToken
            | ApiKey::DescribeDelegationToken
            | ApiKey::DeleteGroups
            | ApiKey::DescribeClientQuotas
            | ApiKey::AlterClientQuotas
            | ApiKey::DescribeUserScramCredentials
            | ApiKey::AlterUserScramCredentials
            | ApiKey::UpdateFeatures
            | ApiKey::DescribeCluster
            | ApiKey::DescribeTransactions
            | ApiKey::ListTransactions
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::GetTelemetrySubscriptions
            | ApiKey::PushTelemetry
            | ApiKey::ListConfigResources
            | ApiKey::ShareGroupDescribe
    )
}

fn fetch(body: &[u8], version: i16) -> Option<Named> {
    let request = decode::<FetchRequest>(body, version)?;
    let mut named = Named::mixed(request.topics.iter().map(|topic| (topic.topic.as_str(), topic.topic_id)));
    let forgotten =
        Named::mixed(request.forgotten_topics_data.iter().map(|topic| (topic.topic.as_str(), topic.topic_id)));
    named.fetch = Some(FetchSession {
        id: request.session_id,
        epoch: request.session_epoch,
        forgotten: forgotten.names,
        forgotten_ids: forgotten.ids,
    });
    Some(named)
}

fn produce(body: &[u8], version: i16) -> Option<Named> {
    let request = decode::<ProduceRequest>(body, version)?;
    let mut named = Named::mixed(request.topic_data.iter().map(|topic| (topic.name.as_str(), topic.topic_id)));
    // A request without records is answered, as in the reference.
    named.no_reply = request.acks == 0 && request.topic_data.iter().any(|topic| !topic.partition_data.is_empty());
    Some(named)
}

fn metadata(body: &[u8], version: i16) -> Option<Named> {
    let request = decode::<MetadataRequest>(body, version)?;
    let Some(topics) = request.topics else { return Some(Named::any()) };
    let mut named =
        Named::mixed(topics.iter().map(|topic| (topic.name.as_ref().map_or("", |name| name.as_str()), topic.topic_id)));
    named.any = version == 0 && topics.is_empty();
    Some(named)
}

fn offset_fetch(body: &[u8], version: i16) -> Option<Named> {
    let request = decode::<OffsetFetchRequest>(body, version)?;
    let mut named = Named::default();
    if version < 8 {
        named.any = request.topics.is_none();
        named.names.extend(request.topics.iter().flatten().map(|topic| topic.name.to_string()));
    }
    for group in &request.groups {
        named.any |= group.topics.is_none();
        for topic in group.topics.iter().flatten() {
            named.add(topic.name.as_str(), topic.topic_id);
        }
    }
    Some(named)
}

/// The topics of a request; `None` if it is malformed or of a version that is not known.
pub(crate) fn named(api_key: ApiKey, body: &[u8], version: i16) -> Option<Named> {
    /// Names in a list of topics.
    macro_rules! names {
        ($request:ty, $($path:ident).+, $name:ident) => {
            Named::names(decode::<$request>(body, version)?.$($path).+.iter().map(|topic| topic.$name.as_str()))
        };
    }
    /// Names in a list of topics which may be missing, and then is all topics.
    macro_rules! optional {
        ($request:ty, $list:ident, $name:ident) => {
            match &decode::<$request>(body, version)?.$list {
                Some(topics) => Named::names(topics.iter().map(|topic| topic.$name.as_str())),
                None => Named::any(),
            }
        };
    }
    macro_rules! configs {
        ($request:ty) => {
            resources(
                decode::<$request>(body, version)?
                    .resources
                    .iter()
                    .map(|r| (r.resource_type, r.resource_name.as_str())),
            )
        };
    }
    Some(match api_key {
        ApiKey::Produce => produce(body, version)?,
        ApiKey::Fetch => fetch(body, version)?,
        ApiKey::Metadata => metadata(body, version)?,
        ApiKey::OffsetFetch => offset_fetch(body, version)?,
        ApiKey::ListOffsets => names!(ListOffsetsRequest, topics, name),
        ApiKey::OffsetCommit => {
            let request = decode::<OffsetCommitRequest>(body, version)?;
            Named::mixed(request.topics.iter().map(|topic| (topic.name.as_str(), topic.topic_id)))
        }
        ApiKey::CreateTopics => names!(CreateTopicsRequest, topics, name),
        ApiKey::DeleteTopics => {
            let request = decode::<DeleteTopicsRequest>(body, version)?;
            let mut named = Named::names(request.topic_names.iter().map(|name| name.as_str()));
            for topic in &request.topics {
                named.add(topic.name.as_ref().map_or("", |name| name.as_str()), topic.topic_id);
            }
            named
        }
        ApiKey::DeleteRecords => names!(DeleteRecordsRequest, topics, name),
        ApiKey::InitProducerId => {
            let request = decode::<InitProducerIdRequest>(body, version)?;
            Named { idempotence: request.transactional_id.is_none(), ..Named::default() }
        }
        ApiKey::OffsetForLeaderEpoch => names!(OffsetForLeaderEpochRequest, topics, topic),
        ApiKey::AddPartitionsToTxn => {
            let request = decode::<AddPartitionsToTxnRequest>(body, version)?;
            let batched = request.transactions.iter().flat_map(|transaction| &transaction.topics);
            Named::names(request.v3_and_below_topics.iter().chain(batched).map(|topic| topic.name.as_str()))
        }
        ApiKey::WriteTxnMarkers => {
            let request = decode::<WriteTxnMarkersRequest>(body, version)?;
            Named::names(request.markers.iter().flat_map(|marker| &marker.topics).map(|topic| topic.name.as_str()))
        }
        ApiKey::TxnOffsetCommit => names!(TxnOffsetCommitRequest, topics, name),
        ApiKey::DescribeConfigs => configs!(DescribeConfigsRequest),
        ApiKey::AlterConfigs => configs!(AlterConfigsRequest),
        ApiKey::IncrementalAlterConfigs => configs!(IncrementalAlterConfigsRequest),
        ApiKey::AlterReplicaLogDirs => {
            let request = decode::<AlterReplicaLogDirsRequest>(body, version)?;
            Named::names(request.dirs.iter().flat_map(|dir| &dir.topics).map(|topic| topic.name.as_str()))
        }
        ApiKey::DescribeLogDirs => optional!(DescribeLogDirsRequest, topics, topic),
        ApiKey::CreatePartitions => names!(CreatePartitionsRequest, topics, name),
        ApiKey::ElectLeaders => optional!(ElectLeadersRequest, topic_partitions, topic),
        ApiKey::AlterPartitionReassignments => names!(AlterPartitionReassignmentsRequest, topics, name),
        ApiKey::ListPartitionReassignments => optional!(ListPartitionReassignmentsRequest, topics, name),
        ApiKey::OffsetDelete => names!(OffsetDeleteRequest, topics, name),
        ApiKey::DescribeProducers => names!(DescribeProducersRequest, topics, name),
        ApiKey::DescribeTopicPartitions => {
            let request = decode::<DescribeTopicPartitionsRequest>(body, version)?;
            // Without names, it is all topics.
            Named {
                any: request.topics.is_empty(),
                ..Named::names(request.topics.iter().map(|topic| topic.name.as_str()))
            }
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let request = decode::<ConsumerGroupHeartbeatRequest>(body, version)?;
            let named = Named::names(request.subscribed_topic_names.iter().flatten().map(|name| name.as_str()));
            Named { any: request.subscribed_topic_regex.is_some_and(|pattern| !pattern.is_empty()), ..named }
        }
        ApiKey::ShareGroupHeartbeat => {
            let request = decode::<ShareGroupHeartbeatRequest>(body, version)?;
            Named::names(request.subscribed_topic_names.iter().flatten().map(|name| name.as_str()))
        }
        // Share sessions carry on with topics of earlier requests.
        ApiKey::ShareFetch => {
            let request = decode::<ShareFetchRequest>(body, version)?;
            let named = Named::mixed(request.topics.iter().map(|topic| ("", topic.topic_id)));
            Named { any: request.share_session_epoch > 0, ..named }
        }
        ApiKey::ShareAcknowledge => {
            let request = decode::<ShareAcknowledgeRequest>(body, version)?;
            Named::mixed(request.topics.iter().map(|topic| ("", topic.topic_id)))
        }
        api_key if has_no_topics(api_key) => Named::default(),
        // Between brokers, or unknown to this list: only rules for all topics allow it.
        _ => Named::any(),
    })
}
