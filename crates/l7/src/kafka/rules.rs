//! Rules on Kafka requests.

use cilium_policy::KafkaRule;

use crate::kafka::Request;

const PRODUCE: i32 = 0;

/// The rule fits the request, its topics aside.
fn fits(rule: &KafkaRule, request: &Request) -> bool {
    (rule.api_keys.is_empty()
        || rule.api_keys.contains(&i32::from(request.api_key))
        || request.idempotence && rule.api_keys.contains(&PRODUCE))
        && (rule.api_version < 0 || rule.api_version == i32::from(request.api_version))
        && (rule.client_id.is_empty() || rule.client_id == request.client_id)
}

/// The rules allow the request: one fits and names no topic, or each topic of the request is named by one that fits.
pub(crate) fn decide<'r>(rules: impl Iterator<Item = &'r KafkaRule> + Clone, request: &Request) -> bool {
    let mut fitting = rules.filter(|rule| fits(rule, request));
    let mut any_fits = fitting.clone();
    if fitting.clone().any(|rule| rule.topic.is_empty()) {
        return true;
    }
    if request.any_topic {
        return false;
    }
    if request.topics.is_empty() {
        return any_fits.next().is_some();
    }
    request.topics.iter().all(|topic| {
        let mut fitting = fitting.by_ref().clone();
        fitting.any(|rule| rule.topic == *topic)
    })
}

/// One of the rules, or several together, allow the request. No rules allow nothing.
#[must_use]
pub fn matches(rules: &[KafkaRule], request: &Request) -> bool {
    decide(rules.iter(), request)
}
