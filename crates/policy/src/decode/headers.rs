//! HTTP rules and header matchers.

use std::sync::Arc;

use cilium_proto::cilium as pb;
use cilium_proto::envoy::config::route::v3::{HeaderMatcher as PbMatcher, header_matcher::HeaderMatchSpecifier};
use cilium_proto::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};

use crate::decode::{At, FieldError, Shared};
use crate::headers::action::{HeaderAction, MatchAction, MismatchAction};
use crate::headers::kept_as;
use crate::headers::matcher::{HeaderMatcher, HeaderTest, Slot, TextTest};
use crate::model::{HttpRule, HttpRules};
use crate::regex::Regex;

pub(crate) fn http_rules(
    source: &[u8],
    message: pb::HttpNetworkPolicyRules,
    shared: &mut impl Shared,
) -> Result<HttpRules, FieldError> {
    let rules = message.http_rules;
    if rules.is_empty() {
        return Err(FieldError::new("http_rules", "must not be empty"));
    }
    let mut decoded = Vec::with_capacity(rules.len());
    for (index, rule) in rules.into_iter().enumerate() {
        decoded.push(http_rule(rule, shared).at_index("http_rules", index)?);
    }
    Ok(HttpRules::new(source, decoded))
}

fn http_rule(rule: pb::HttpNetworkPolicyRule, shared: &mut impl Shared) -> Result<HttpRule, FieldError> {
    let mut headers = Vec::with_capacity(rule.headers.len());
    for (index, matcher) in rule.headers.into_iter().enumerate() {
        headers.push(header_matcher(matcher, shared).at_index("headers", index)?);
    }
    let mut actions = Vec::with_capacity(rule.header_matches.len());
    for (index, action) in rule.header_matches.into_iter().enumerate() {
        actions.push(header_action(action, shared).at_index("header_matches", index)?);
    }
    Ok(HttpRule::new(headers, actions))
}

fn header_matcher(matcher: PbMatcher, shared: &mut impl Shared) -> Result<HeaderMatcher, FieldError> {
    let name: Box<str> = kept_as(&header_name(matcher.name)?).into();
    let invert = matcher.invert_match;
    let missing_as_empty = matcher.treat_missing_header_as_empty;
    let by_string_match = matches!(matcher.header_match_specifier, Some(HeaderMatchSpecifier::StringMatch(_)));
    let test = match matcher.header_match_specifier {
        None => HeaderTest::Present(true),
        Some(HeaderMatchSpecifier::ExactMatch(value)) => HeaderTest::Exact(value.into_bytes().into()),
        Some(HeaderMatchSpecifier::SafeRegexMatch(matcher)) => {
            HeaderTest::Text(TextTest::Regex(regex(&matcher, shared).at("safe_regex_match")?))
        }
        Some(HeaderMatchSpecifier::RangeMatch(range)) => HeaderTest::Range { start: range.start, end: range.end },
        Some(HeaderMatchSpecifier::PresentMatch(present)) => HeaderTest::Present(present),
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => {
            HeaderTest::Text(TextTest::Prefix { value: non_empty(value, "prefix_match")?, ignore_case: false })
        }
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => {
            HeaderTest::Text(TextTest::Suffix { value: non_empty(value, "suffix_match")?, ignore_case: false })
        }
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => {
            HeaderTest::Text(TextTest::Contains { value: non_empty(value, "contains_match")?, ignore_case: false })
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            HeaderTest::Text(text_test(matcher, shared).at("string_match")?)
        }
    };
    Ok(HeaderMatcher { slot: Slot::of(&name), name, test, by_string_match, invert, missing_as_empty })
}

/// Lower case; the API refuses empty names and NUL, CR, LF.
fn header_name(mut name: String) -> Result<Box<str>, FieldError> {
    if name.is_empty() {
        return Err(FieldError::new("name", "must not be empty"));
    }
    if name.contains(['\0', '\r', '\n']) {
        return Err(FieldError::new("name", format!("{name:?} is not a header name")));
    }
    name.make_ascii_lowercase();
    Ok(name.into())
}

pub(super) fn text_test(matcher: StringMatcher, shared: &mut impl Shared) -> Result<TextTest, FieldError> {
    let ignore_case = matcher.ignore_case;
    Ok(match matcher.match_pattern {
        None => return Err(FieldError::new("match_pattern", "is required")),
        Some(MatchPattern::Exact(value)) => TextTest::Exact { value: value.into_bytes().into(), ignore_case },
        Some(MatchPattern::Prefix(value)) => TextTest::Prefix { value: non_empty(value, "prefix")?, ignore_case },
        Some(MatchPattern::Suffix(value)) => TextTest::Suffix { value: non_empty(value, "suffix")?, ignore_case },
        Some(MatchPattern::Contains(value)) => TextTest::Contains { value: non_empty(value, "contains")?, ignore_case },
        Some(MatchPattern::SafeRegex(_)) if ignore_case && shared.enforced() => {
            return Err(FieldError::new("ignore_case", "has no effect for safe_regex"));
        }
        Some(MatchPattern::SafeRegex(matcher)) => TextTest::Regex(regex(&matcher, shared).at("safe_regex")?),
        Some(MatchPattern::Custom(_)) if !shared.enforced() => TextTest::Exact { value: Box::default(), ignore_case },
        Some(MatchPattern::Custom(_)) => return Err(FieldError::new("custom", "matcher extensions are not supported")),
    })
}

fn regex(matcher: &RegexMatcher, shared: &mut impl Shared) -> Result<Arc<Regex>, FieldError> {
    if matcher.regex.is_empty() {
        return Err(FieldError::new("regex", "must not be empty"));
    }
    shared.regex(&matcher.regex).map_err(|error| FieldError::new("regex", error.to_string()))
}

fn non_empty(value: String, field: &str) -> Result<Box<[u8]>, FieldError> {
    if value.is_empty() { Err(FieldError::new(field, "must not be empty")) } else { Ok(value.into_bytes().into()) }
}

fn header_action(action: pb::HeaderMatch, shared: &mut impl Shared) -> Result<HeaderAction, FieldError> {
    let on_match = match action.match_action {
        0 => MatchAction::Continue,
        2 => MatchAction::Delete,
        // Fails closed: 1 asks for it, others are unknown.
        _ => MatchAction::Fail,
    };
    let on_mismatch = match action.mismatch_action {
        1 => MismatchAction::Continue,
        2 => MismatchAction::Add,
        3 => MismatchAction::Delete,
        4 => MismatchAction::Replace,
        _ => MismatchAction::Fail,
    };
    let secret = (!action.value_sds_secret.is_empty()).then(|| shared.secret(&action.value_sds_secret));
    Ok(HeaderAction {
        name: header_name(action.name)?,
        value: action.value.into_bytes().into(),
        secret,
        on_match,
        on_mismatch,
    })
}
