//! Metadata of topics: what a client may not know of is left out, and the names of topic ids are learnt.

use bytes::BytesMut;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, RequestHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::{Frame, Kafka, Kind, PEEK, Sent, entry};
use crate::kafka::Request;
use crate::kafka::decode::decode;
use crate::kafka::reply::{TOPIC, message};
use crate::op::Op;
use crate::parser::Context;
use crate::record::{EntryType, KafkaEntry, L7};
use crate::request;

impl Kafka {
    /// Asks for metadata of the allowed topics alone: a client needs the brokers, and one denied topic must not hide others. As at a
    /// broker, a request for all topics is one for all that are allowed.
    pub(super) fn part_of_metadata(
        &mut self,
        context: &mut Context<'_>,
        frame: &Frame<'_>,
        request: &Request,
    ) -> Option<Op> {
        let mut without = Request { any_topic: false, ..request.clone() };
        let topics = std::mem::take(&mut without.topics);
        if !allows(context, &without) {
            return None;
        }
        let id = frame.correlation_id;
        if request.any_topic {
            context.log(EntryType::Request, L7::Kafka(entry(request, id, 0)));
            let kind = Kind::PartOfMetadata(Vec::new());
            return Some(self.send(context, Sent { request: without, correlation_id: id, kind }, frame.length));
        }
        if frame.version == 0 {
            return None;
        }
        let (allowed, denied): (Vec<_>, Vec<_>) =
            topics.into_iter().partition(|topic| allows_topic(context, &mut without, topic));
        let header = RequestHeader::default()
            .with_request_api_key(frame.api_key)
            .with_request_api_version(frame.version)
            .with_correlation_id(id)
            .with_client_id(Some(StrBytes::from_string(frame.client_id.clone())));
        let named = |topic: &String| {
            MetadataRequestTopic::default().with_name(Some(StrBytes::from_string(topic.clone()).into()))
        };
        let body = decode::<MetadataRequest>(frame.body, frame.version)?;
        let body = body.with_topics(Some(allowed.iter().map(named).collect()));
        let mut message = BytesMut::from(&[0; 4][..]);
        header.encode(&mut message, ApiKey::Metadata.request_header_version(frame.version)).ok()?;
        body.encode(&mut message, frame.version).ok()?;
        let length = i32::try_from(message.len() - 4).ok()?;
        message[..4].copy_from_slice(&length.to_be_bytes());
        context.log(EntryType::Denied, L7::Kafka(KafkaEntry { topics: denied.clone(), ..entry(&without, id, TOPIC) }));
        if !allowed.is_empty() {
            context.log(EntryType::Request, L7::Kafka(KafkaEntry { topics: allowed, ..entry(&without, id, 0) }));
        }
        let kind = Kind::PartOfMetadata(denied);
        self.pipeline.expect(Sent { request: request.clone(), correlation_id: id, kind }).ok()?;
        self.dropping = Some(frame.length);
        context.inject(false, &message);
        Some(Op::Inject(message.len()))
    }

    pub(super) fn learn_topics(&self, response: &MetadataResponse) {
        let topics = response.topics.iter();
        let topics = topics.filter_map(|topic| Some((topic.topic_id, topic.name.as_ref()?.to_string())));
        self.ids.learn(&self.scope, topics);
    }

    pub(super) fn filter_topics(
        &self,
        context: &Context<'_>,
        mut response: MetadataResponse,
        request: &Request,
        denied: Vec<String>,
        correlation_id: i32,
    ) -> Option<Vec<u8>> {
        let mut about = Request { topics: Vec::new(), ..request.clone() };
        response.topics.retain(|topic| topic.name.as_ref().is_some_and(|name| allows_topic(context, &mut about, name)));
        self.learn_topics(&response);
        response.topics.extend(denied.into_iter().map(|name| {
            let name = Some(StrBytes::from_string(name).into());
            MetadataResponseTopic::default().with_name(name).with_error_code(TOPIC)
        }));
        message(&response, ApiKey::Metadata, request.api_version, correlation_id)
    }
}

fn allows(context: &Context<'_>, request: &Request) -> bool {
    context.decide(&request::Request::Kafka(request)).allowed
}

/// Whether a request would be allowed if it were about this topic. The request has this topic afterwards.
fn allows_topic(context: &Context<'_>, request: &mut Request, topic: &str) -> bool {
    request.topics.clear();
    request.topics.push(topic.to_owned());
    allows(context, request)
}

/// Decodes a metadata reply.
pub(super) fn metadata(frame: &[u8], version: i16) -> Option<MetadataResponse> {
    let body = match (version >= 9, frame.get(PEEK)) {
        (true, Some(0)) => &frame[PEEK + 1..],
        (false, _) => &frame[PEEK..],
        (true, _) => return None,
    };
    decode(body, version)
}
