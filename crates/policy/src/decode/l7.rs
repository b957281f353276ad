//! Kafka, generic and metadata rules.

use cilium_proto::cilium as pb;
use cilium_proto::envoy::r#type::matcher::v3::{
    MetadataMatcher as PbMatcher, ValueMatcher, double_matcher, list_matcher, metadata_matcher::path_segment,
    value_matcher::MatchPattern,
};

use crate::decode::headers::text_test;
use crate::decode::{At, FieldError, Shared};
use crate::metadata::matcher::{MetadataMatcher, ValueTest};
use crate::model::{GenericRule, GenericRules, KafkaRule, MetadataRule, MetadataRules};

/// Longest topic of Kafka, as the API checks it.
const MAX_TOPIC: usize = 255;

pub(super) fn kafka_rules(rules: Vec<pb::KafkaNetworkPolicyRule>) -> Result<Box<[KafkaRule]>, FieldError> {
    if rules.is_empty() {
        return Err(FieldError::new("kafka_rules", "must not be empty"));
    }
    rules.into_iter().enumerate().map(|(index, rule)| kafka_rule(rule).at_index("kafka_rules", index)).collect()
}

fn kafka_rule(rule: pb::KafkaNetworkPolicyRule) -> Result<KafkaRule, FieldError> {
    let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    for (field, value) in [("client_id", &rule.client_id), ("topic", &rule.topic)] {
        if !is_name(value) {
            return Err(FieldError::new(field, format!("{value:?} does not match ^[a-zA-Z0-9._-]*$")));
        }
    }
    if rule.topic.len() > MAX_TOPIC {
        return Err(FieldError::new("topic", format!("longer than {MAX_TOPIC} characters")));
    }
    Ok(KafkaRule {
        api_version: rule.api_version,
        api_keys: rule.api_keys,
        client_id: rule.client_id,
        topic: rule.topic,
    })
}

/// Metadata matchers count only for rules that name a parser.
pub(super) fn generic_rules(
    rules: pb::L7NetworkPolicyRules,
    has_parser: bool,
    shared: &mut impl Shared,
) -> Result<GenericRules, FieldError> {
    let (allow, metadata_allow) = list(rules.l7_allow_rules, "l7_allow_rules", shared)?;
    let (deny, metadata_deny) = list(rules.l7_deny_rules, "l7_deny_rules", shared)?;
    let metadata = if has_parser {
        MetadataRules { allow: metadata_allow, deny: metadata_deny }
    } else {
        MetadataRules::default()
    };
    Ok(GenericRules { allow, deny, metadata })
}

type Lists = (Box<[GenericRule]>, Box<[MetadataRule]>);

fn list(rules: Vec<pb::L7NetworkPolicyRule>, field: &str, shared: &mut impl Shared) -> Result<Lists, FieldError> {
    let mut generic = Vec::with_capacity(rules.len());
    let mut metadata = Vec::with_capacity(rules.len());
    for (index, rule) in rules.into_iter().enumerate() {
        let has_metadata = !rule.metadata_rule.is_empty();
        let matchers = rule
            .metadata_rule
            .into_iter()
            .enumerate()
            .map(|(position, matcher)| metadata_matcher(matcher, shared).at_index("metadata_rule", position))
            .collect::<Result<_, _>>()
            .at_index(field, index)?;
        metadata.push(MetadataRule { name: rule.name.as_str().into(), matchers });
        generic.push(GenericRule { name: rule.name, fields: rule.rule.into_iter().collect(), has_metadata });
    }
    Ok((generic.into(), metadata.into()))
}

fn metadata_matcher(matcher: PbMatcher, shared: &mut impl Shared) -> Result<MetadataMatcher, FieldError> {
    if matcher.filter.is_empty() {
        return Err(FieldError::new("filter", "must not be empty"));
    }
    if matcher.path.is_empty() {
        return Err(FieldError::new("path", "must not be empty"));
    }
    let mut path = Vec::with_capacity(matcher.path.len());
    for (index, segment) in matcher.path.into_iter().enumerate() {
        match segment.segment {
            Some(path_segment::Segment::Key(key)) if !key.is_empty() => path.push(key.into()),
            Some(_) => return Err(FieldError::new("key", "must not be empty")).at_index("path", index),
            None => return Err(FieldError::new("segment", "is required")).at_index("path", index),
        }
    }
    let value = matcher.value.ok_or_else(|| FieldError::new("value", "is required"))?;
    Ok(MetadataMatcher {
        filter: matcher.filter.into(),
        path: path.into(),
        value: value_test(value, shared).at("value")?,
        invert: matcher.invert,
    })
}

fn value_test(matcher: ValueMatcher, shared: &mut impl Shared) -> Result<ValueTest, FieldError> {
    let required = || FieldError::new("match_pattern", "is required");
    Ok(match matcher.match_pattern.ok_or_else(required)? {
        MatchPattern::NullMatch(_) => ValueTest::Null,
        MatchPattern::DoubleMatch(matcher) => match matcher.match_pattern {
            Some(double_matcher::MatchPattern::Range(range)) => ValueTest::Range { start: range.start, end: range.end },
            Some(double_matcher::MatchPattern::Exact(value)) => ValueTest::Number(value),
            None => return Err(required().within("double_match")),
        },
        MatchPattern::StringMatch(matcher) => ValueTest::Text(text_test(matcher, shared).at("string_match")?),
        MatchPattern::BoolMatch(value) => ValueTest::Bool(value),
        MatchPattern::PresentMatch(present) => ValueTest::Present(present),
        MatchPattern::ListMatch(matcher) => match matcher.match_pattern {
            Some(list_matcher::MatchPattern::OneOf(matcher)) => {
                ValueTest::AnyOf(Box::new(value_test(*matcher, shared).at("list_match.one_of")?))
            }
            None => return Err(required().within("list_match")),
        },
        MatchPattern::OrMatch(matcher) => {
            if matcher.value_matchers.len() < 2 {
                return Err(FieldError::new("or_match.value_matchers", "needs at least 2 items"));
            }
            let tests = matcher
                .value_matchers
                .into_iter()
                .enumerate()
                .map(|(index, matcher)| value_test(matcher, shared).at_index("or_match.value_matchers", index))
                .collect::<Result<_, _>>()?;
            ValueTest::Or(tests)
        }
    })
}
