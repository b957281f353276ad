use cilium_proto::envoy::r#type::matcher::v3::double_matcher::MatchPattern as Number;
use cilium_proto::envoy::r#type::matcher::v3::metadata_matcher::{PathSegment, path_segment::Segment};
use cilium_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern as Text;
use cilium_proto::envoy::r#type::matcher::v3::value_matcher::{MatchPattern, NullMatch};
use cilium_proto::envoy::r#type::matcher::v3::{
    DoubleMatcher, ListMatcher, MetadataMatcher, OrMatcher, RegexMatcher, StringMatcher, ValueMatcher, list_matcher,
};
use cilium_proto::envoy::r#type::v3::DoubleRange;

use super::*;
use crate::Direction;
use crate::fixture::*;

fn value(pattern: MatchPattern) -> ValueMatcher {
    ValueMatcher { match_pattern: Some(pattern) }
}

fn text(pattern: Text, ignore_case: bool) -> MatchPattern {
    MatchPattern::StringMatch(StringMatcher { match_pattern: Some(pattern), ignore_case })
}

fn exact(text: &str) -> MatchPattern {
    self::text(Text::Exact(text.to_owned()), false)
}

fn number(pattern: Number) -> MatchPattern {
    MatchPattern::DoubleMatch(DoubleMatcher { match_pattern: Some(pattern) })
}

fn range(start: f64, end: f64) -> MatchPattern {
    number(Number::Range(DoubleRange { start, end }))
}

fn any_of(pattern: MatchPattern) -> MatchPattern {
    let one = list_matcher::MatchPattern::OneOf(Box::new(value(pattern)));
    MatchPattern::ListMatch(Box::new(ListMatcher { match_pattern: Some(one) }))
}

fn or(patterns: Vec<MatchPattern>) -> MatchPattern {
    MatchPattern::OrMatch(OrMatcher { value_matchers: patterns.into_iter().map(value).collect() })
}

/// Asks for the value at `f`: `k`.
fn matcher(pattern: MatchPattern) -> MetadataMatcher {
    at(&["k"], pattern)
}

fn at(path: &[&str], pattern: MatchPattern) -> MetadataMatcher {
    let segment = |key: &&str| PathSegment { segment: Some(Segment::Key((*key).to_owned())) };
    MetadataMatcher {
        filter: "f".to_owned(),
        path: path.iter().map(segment).collect(),
        value: Some(value(pattern)),
        invert: false,
    }
}

fn not(matcher: MetadataMatcher) -> MetadataMatcher {
    MetadataMatcher { invert: true, ..matcher }
}

fn lists(allow: Vec<Vec<MetadataMatcher>>, deny: Vec<Vec<MetadataMatcher>>) -> pb::PortNetworkPolicyRule {
    let entry = |metadata_rule| pb::L7NetworkPolicyRule { metadata_rule, ..Default::default() };
    let rules = pb::L7NetworkPolicyRules {
        l7_allow_rules: allow.into_iter().map(entry).collect(),
        l7_deny_rules: deny.into_iter().map(entry).collect(),
    };
    let l7 = Some(pb::port_network_policy_rule::L7::L7Rules(rules));
    pb::PortNetworkPolicyRule { l7, l7_proto: "parser".to_owned(), ..rule("meta", &[]) }
}

/// Whether the rule allows, and the code of the reason.
fn judge(rule: pb::PortNetworkPolicyRule, metadata: &Metadata) -> (bool, &'static str) {
    let (_, policy) = map(vec![port(80, vec![rule])]);
    let verdict = policy.port(Direction::Ingress, 80).metadata(0, 1, metadata);
    (verdict.allowed, verdict.reason.code())
}

/// Whether the value at `f`: `k` fits; `None`: there is none.
fn fits(pattern: MatchPattern, found: Option<Value>) -> bool {
    let fields = found.map(|found| ("k".to_owned(), found)).into_iter().collect();
    judge(lists(vec![vec![matcher(pattern)]], vec![]), &filter(fields)).0
}

fn filter(fields: BTreeMap<String, Value>) -> Metadata {
    Metadata(BTreeMap::from([("f".to_owned(), Value::Struct(fields))]))
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// One value of every kind, and none.
fn kinds() -> Vec<Option<Value>> {
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Number(1.0),
        string("a"),
        Value::List(vec![string("a")]),
        Value::Struct(BTreeMap::new()),
    ];
    std::iter::once(None).chain(values.map(Some)).collect()
}

#[test]
fn a_test_fits_values_of_its_kind_only() {
    for (pattern, fitting) in [
        (MatchPattern::NullMatch(NullMatch {}), &[1][..]),
        (MatchPattern::BoolMatch(true), &[2]),
        (number(Number::Exact(1.0)), &[3]),
        (range(1.0, 2.0), &[3]),
        (exact("a"), &[4]),
        (any_of(exact("a")), &[5]),
        (MatchPattern::PresentMatch(true), &[1, 2, 3, 4, 5, 6]),
        (MatchPattern::PresentMatch(false), &[]),
        (or(vec![exact("a"), MatchPattern::BoolMatch(true)]), &[2, 4]),
    ] {
        let found: Vec<_> =
            kinds().into_iter().enumerate().filter(|(_, value)| fits(pattern.clone(), value.clone())).collect();
        let found: Vec<_> = found.into_iter().map(|(index, _)| index).collect();
        assert_eq!(found, fitting, "{pattern:?}");
    }
}

#[test]
fn numbers_lie_in_half_open_ranges() {
    for (found, fitting) in [(0.9, false), (1.0, true), (1.9, true), (2.0, false), (f64::NAN, false)] {
        assert_eq!(fits(range(1.0, 2.0), Some(Value::Number(found))), fitting, "{found}");
    }
    assert!(!fits(number(Number::Exact(1.0)), Some(Value::Number(1.5))));
    assert!(!fits(MatchPattern::BoolMatch(true), Some(Value::Bool(false))));
}

#[test]
fn texts_are_tested_as_headers_are() {
    let regex = RegexMatcher { regex: "[a-c]+".to_owned() };
    for (pattern, fitting, other) in [
        (exact("abc"), "abc", "ABC"),
        (text(Text::Exact("abc".to_owned()), true), "ABC", "ab"),
        (text(Text::Prefix("ab".to_owned()), false), "abc", "ac"),
        (text(Text::Suffix("bc".to_owned()), true), "aBC", "bca"),
        (text(Text::Contains("b".to_owned()), false), "abc", "ac"),
        (text(Text::SafeRegex(regex), false), "abc", "abcd"),
    ] {
        assert!(fits(pattern.clone(), Some(string(fitting))), "{pattern:?}");
        assert!(!fits(pattern.clone(), Some(string(other))), "{pattern:?}");
    }
}

#[test]
fn a_list_fits_if_one_element_does() {
    let numbers = Value::List(vec![string("x"), Value::Number(7.0), Value::Null]);
    assert!(fits(any_of(range(5.0, 8.0)), Some(numbers.clone())));
    assert!(fits(any_of(MatchPattern::NullMatch(NullMatch {})), Some(numbers.clone())));
    assert!(!fits(any_of(exact("y")), Some(numbers.clone())));
    assert!(!fits(any_of(MatchPattern::PresentMatch(true)), Some(Value::List(vec![]))));
    let nested = Value::List(vec![Value::List(vec![string("x")])]);
    assert!(fits(any_of(any_of(exact("x"))), Some(nested)));
    assert!(fits(any_of(or(vec![exact("y"), exact("x")])), Some(numbers)));
}

#[test]
fn paths_lead_through_structs() {
    let inner = Value::Struct(BTreeMap::from([("b".to_owned(), string("x"))]));
    let metadata = filter(BTreeMap::from([("a".to_owned(), inner), ("list".to_owned(), Value::List(vec![]))]));
    let allows = |matcher| judge(lists(vec![vec![matcher]], vec![]), &metadata).0;
    assert!(allows(at(&["a", "b"], exact("x"))));
    for path in [&["a"][..], &["b"], &["a", "c"], &["a", "b", "c"], &["list", "b"]] {
        assert!(!allows(at(path, exact("x"))), "{path:?}");
    }
    assert!(allows(at(&["a"], MatchPattern::PresentMatch(true))));
}

#[test]
fn inverted_matchers_also_fit_what_is_missing() {
    let rule = || lists(vec![vec![not(matcher(exact("a")))]], vec![]);
    let with = |found| filter(BTreeMap::from([("k".to_owned(), found)]));
    assert!(!judge(rule(), &with(string("a"))).0);
    assert!(judge(rule(), &with(string("b"))).0);
    assert!(judge(rule(), &filter(BTreeMap::new())).0, "no value at the path");
    assert!(judge(rule(), &Metadata::default()).0, "nothing from the filter");
}

#[test]
fn without_the_filter_nothing_fits() {
    for pattern in [exact("a"), MatchPattern::PresentMatch(true), MatchPattern::NullMatch(NullMatch {})] {
        assert!(!judge(lists(vec![vec![matcher(pattern)]], vec![]), &Metadata::default()).0);
    }
}

#[test]
fn a_rule_needs_all_its_matchers_and_a_list_one_of_its_rules() {
    let metadata = filter(BTreeMap::from([("k".to_owned(), string("a")), ("l".to_owned(), string("b"))]));
    let (k, l, no) = (matcher(exact("a")), at(&["l"], exact("b")), at(&["l"], exact("c")));
    let allows = |allow| judge(lists(allow, vec![]), &metadata).0;
    assert!(allows(vec![vec![k.clone(), l.clone()]]));
    assert!(!allows(vec![vec![k.clone(), no.clone()]]));
    assert!(allows(vec![vec![no.clone()], vec![l]]));
    assert!(allows(vec![vec![]]), "no matchers: everything");
    assert!(allows(vec![]), "no allow rules: everything");
    assert!(!allows(vec![vec![no]]));
}

#[test]
fn denying_rules_win_and_are_named() {
    let metadata = filter(BTreeMap::from([("k".to_owned(), string("a"))]));
    let (hit, miss) = (vec![matcher(exact("a"))], vec![matcher(exact("b"))]);
    assert_eq!(judge(lists(vec![hit.clone()], vec![hit.clone()]), &metadata), (false, "metadata_denied"));
    assert_eq!(judge(lists(vec![], vec![hit.clone()]), &metadata), (false, "metadata_denied"));
    assert_eq!(judge(lists(vec![], vec![miss.clone()]), &metadata), (true, "allowed_by_rule"));
    assert_eq!(judge(lists(vec![hit], vec![miss.clone()]), &metadata), (true, "allowed_by_rule"));
    assert_eq!(judge(lists(vec![miss], vec![]), &metadata), (false, "metadata_mismatch"));
}

#[test]
fn matchers_of_rules_without_a_parser_do_not_count() {
    let rule = pb::PortNetworkPolicyRule { l7_proto: String::new(), ..lists(vec![vec![matcher(exact("a"))]], vec![]) };
    assert!(judge(rule, &Metadata::default()).0);
}

#[test]
fn incomplete_matchers_are_refused_with_their_place() {
    let one = || value(exact("a"));
    let list = "l7_rules.l7_allow_rules[0].metadata_rule[0]";
    for (matcher, field) in [
        (MetadataMatcher { filter: String::new(), ..matcher(exact("a")) }, "filter"),
        (at(&[], exact("a")), "path"),
        (at(&["a", ""], exact("a")), "path[1].key"),
        (MetadataMatcher { path: vec![PathSegment { segment: None }], ..matcher(exact("a")) }, "path[0].segment"),
        (MetadataMatcher { value: None, ..matcher(exact("a")) }, "value"),
        (
            MetadataMatcher { value: Some(ValueMatcher { match_pattern: None }), ..matcher(exact("a")) },
            "value.match_pattern",
        ),
        (matcher(MatchPattern::DoubleMatch(DoubleMatcher { match_pattern: None })), "value.double_match.match_pattern"),
        (
            matcher(MatchPattern::ListMatch(Box::new(ListMatcher { match_pattern: None }))),
            "value.list_match.match_pattern",
        ),
        (matcher(MatchPattern::OrMatch(OrMatcher { value_matchers: vec![one()] })), "value.or_match.value_matchers"),
    ] {
        let rejected = refused(vec![port(80, vec![lists(vec![vec![matcher]], vec![])])]);
        let path = format!("ingress_per_port_policies[0].rules[0].{list}.{field}");
        assert_eq!(rejected.field(), Some(path.as_str()));
    }
}
