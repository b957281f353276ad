use super::*;
use crate::fixture::*;
use crate::{Direction, PolicyMap, Verdict};

/// Judges a request by one rule with these comparisons.
fn judge(list: Vec<pb::HeaderMatch>, secret: Option<&[u8]>, request: &[(&str, &str)]) -> (bool, HeaderList, HeaderLog) {
    let (mut map, policy) = map(vec![port(80, vec![http(vec![actions(list)], rule("r", &[]))])]);
    map.set_secret("s", secret);
    let mut headers = request.iter().copied().collect();
    let mut log = HeaderLog::default();
    let Verdict { allowed, .. } = policy.port(Direction::Ingress, 80).http(0, 1, &mut headers, &mut log);
    (allowed, headers, log)
}

fn action(name: &str, value: &str, on_match: i32, on_mismatch: i32) -> pb::HeaderMatch {
    pb::HeaderMatch {
        name: name.to_owned(),
        value: value.to_owned(),
        match_action: on_match,
        mismatch_action: on_mismatch,
        ..Default::default()
    }
}

fn secret(on_mismatch: i32, fallback: &str) -> pb::HeaderMatch {
    pb::HeaderMatch { value_sds_secret: "s".to_owned(), ..action("x", fallback, 0, on_mismatch) }
}

fn list(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

#[test]
fn actions_on_a_match() {
    for (on_match, allowed, after, rejected) in [
        (0, true, &[("x", "1")][..], &[][..]),
        (1, false, &[("x", "1")], &[("x", "1")]),
        (2, true, &[], &[("x", "1")]),
        (9, false, &[("x", "1")], &[("x", "1")]),
    ] {
        let (verdict, headers, log) = judge(vec![action("X", "1", on_match, 0)], None, &[("x", "1")]);
        assert_eq!((verdict, headers.0, log.rejected), (allowed, list(after), list(rejected)), "action {on_match}");
        assert!(log.missing.is_empty());
    }
}

#[test]
fn the_host_header_is_the_authority() {
    let request = [("Host", "a.org")];
    for (name, logged) in [("Host", "host"), (":authority", ":authority")] {
        let (allowed, headers, log) = judge(vec![action(name, "b.org", 0, 4)], None, &request);
        assert!(allowed);
        assert_eq!(headers.0, list(&[(":authority", "b.org")]), "{name}");
        assert_eq!((log.missing, log.rejected), (list(&[(logged, "b.org")]), list(&[(logged, "a.org")])), "{name}");
    }
    for name in ["host", "Host", ":authority"] {
        let matcher = header(name, Test::ExactMatch("a.org".to_owned()));
        let (_, policy) = map(vec![port(80, vec![http(vec![headers(vec![matcher])], rule("r", &[]))])]);
        let mut request = HeaderList::from_iter([(":authority", "a.org")]);
        let allowed = policy.port(Direction::Ingress, 80).http(0, 1, &mut request, &mut HeaderLog::default()).allowed;
        assert!(allowed, "{name}");
    }
}

#[test]
fn actions_on_a_mismatch() {
    let before = [("x", "2")];
    for (on_mismatch, allowed, after, missing, rejected) in [
        (0, false, &before[..], &[("x", "1")][..], &[][..]),
        (1, true, &before, &[("x", "1")], &[]),
        (2, true, &[("x", "2"), ("x", "1")], &[("x", "1")], &[]),
        (3, true, &[], &[], &[("x", "2")]),
        (4, true, &[("x", "1")], &[("x", "1")], &[("x", "2")]),
        (9, false, &before, &[("x", "1")], &[]),
    ] {
        let (verdict, headers, log) = judge(vec![action("x", "1", 0, on_mismatch)], None, &before);
        assert_eq!((verdict, headers.0), (allowed, list(after)), "action {on_mismatch}");
        assert_eq!((log.missing, log.rejected), (list(missing), list(rejected)), "action {on_mismatch}");
    }
}

#[test]
fn without_a_value_presence_is_the_match() {
    assert!(judge(vec![action("x", "", 0, 0)], None, &[("x", "any")]).0);
    let (allowed, headers, log) = judge(vec![action("x", "", 0, 3)], None, &[]);
    assert_eq!((allowed, headers, log), (true, HeaderList::default(), HeaderLog::default()));
    let (allowed, headers, _) = judge(vec![action("x", "", 0, 2)], None, &[]);
    assert_eq!((allowed, headers.0), (true, list(&[("x", "")])));
}

#[test]
fn several_values_are_compared_joined() {
    assert!(judge(vec![action("x", "1,2", 0, 0)], None, &[("x", "1"), ("x", "2")]).0);
    assert!(!judge(vec![action("x", "1", 0, 0)], None, &[("x", "1"), ("x", "2")]).0);
}

#[test]
fn a_secret_is_compared_and_never_logged() {
    assert!(judge(vec![secret(0, "")], Some(b"key"), &[("x", "key")]).0);
    let (allowed, headers, log) = judge(vec![secret(4, "")], Some(b"key"), &[("x", "guess")]);
    assert_eq!((allowed, headers.0), (true, list(&[("x", "key")])));
    let redacted = list(&[("x", "[redacted]")]);
    assert_eq!((log.missing, log.rejected), (redacted.clone(), redacted));
}

#[test]
fn a_missing_secret_fails_unless_there_is_a_value() {
    let (allowed, headers, log) = judge(vec![secret(4, "")], None, &[("x", "a")]);
    assert_eq!((allowed, headers.0, log), (false, list(&[("x", "a")]), HeaderLog::default()));
    assert!(judge(vec![secret(0, "inline")], None, &[("x", "inline")]).0);
    assert!(!judge(vec![secret(0, "inline")], Some(b"key"), &[("x", "inline")]).0);
}

#[test]
fn secrets_count_at_once_in_old_snapshots() {
    let mut map = PolicyMap::new();
    let rules = vec![port(80, vec![http(vec![actions(vec![secret(0, "")])], rule("r", &[]))])];
    let old = full(&mut map, &[("1", policy(1, &[IP], rules.clone()))]).unwrap();
    let ask = |snapshot: &crate::Snapshot| {
        let mut headers = HeaderList::from_iter([("x", "key")]);
        let port = snapshot.policy(IP, false).port(Direction::Ingress, 80);
        port.http(0, 1, &mut headers, &mut HeaderLog::default()).allowed
    };
    assert!(!ask(&old));
    map.set_secret("s", Some(b"key"));
    let new = update(&mut map, crate::UpdateKind::Full, true, &[("1", policy(1, &[IP], rules))], &[]).unwrap();
    assert!(ask(&old) && ask(&new));
    map.set_secret("s", None);
    assert!(!ask(&old) && !ask(&new));
}

#[test]
fn all_rules_act_when_one_does() {
    let rules =
        vec![http(vec![actions(vec![action("x", "1", 0, 2)]), actions(vec![action("y", "1", 0, 2)])], rule("r", &[]))];
    let (_, policy) = map(vec![port(80, rules)]);
    let (mut headers, mut log) = (HeaderList::default(), HeaderLog::default());
    assert!(policy.port(Direction::Ingress, 80).http(0, 1, &mut headers, &mut log).allowed);
    assert_eq!(headers.0, list(&[("x", "1"), ("y", "1")]));
}

#[test]
fn log_entries_are_not_repeated() {
    let same = || actions(vec![action("x", "1", 0, 1)]);
    let (_, policy) = map(vec![port(80, vec![http(vec![same(), same()], rule("r", &[]))])]);
    let mut log = HeaderLog::default();
    policy.port(Direction::Ingress, 80).http(0, 1, &mut HeaderList::default(), &mut log);
    assert_eq!(log.missing, list(&[("x", "1")]));
}

fn matches(test: Option<Test>, invert: bool, as_empty: bool, values: &[&str]) -> bool {
    let matcher = PbMatcher {
        name: "X".to_owned(),
        header_match_specifier: test,
        invert_match: invert,
        treat_missing_header_as_empty: as_empty,
    };
    let (_, policy) = map(vec![port(80, vec![http(vec![headers(vec![matcher])], rule("r", &[]))])]);
    let mut request: HeaderList = values.iter().map(|value| ("x", *value)).collect();
    policy.port(Direction::Ingress, 80).http(0, 1, &mut request, &mut HeaderLog::default()).allowed
}

#[test]
fn header_tests_compare_as_envoy_does() {
    use cilium_proto::envoy::r#type::{matcher::v3, v3::Int64Range};
    let text =
        |pattern, ignore_case| Some(Test::StringMatch(v3::StringMatcher { match_pattern: Some(pattern), ignore_case }));
    let owned = ToOwned::to_owned;
    let range = || Some(Test::RangeMatch(Int64Range { start: -1, end: 10 }));
    for (test, yes, no) in [
        (None, vec!["", "a"], vec![]),
        (Some(Test::ExactMatch(owned("a"))), vec!["a"], vec!["A", "aa", ""]),
        (Some(Test::ExactMatch(String::new())), vec!["", "a"], vec![]),
        (Some(Test::PrefixMatch(owned("a"))), vec!["a", "ab"], vec!["ba", ""]),
        (Some(Test::SuffixMatch(owned("a"))), vec!["a", "ba"], vec!["ab", ""]),
        (Some(Test::ContainsMatch(owned("a"))), vec!["a", "bab"], vec!["b", ""]),
        (range(), vec!["-1", "0", "9", " 9 ", "+3"], vec!["10", "-2", "", "x", "1x", "99999999999999999999"]),
        (Some(Test::PresentMatch(true)), vec!["", "a"], vec![]),
        (Some(Test::PresentMatch(false)), vec![], vec!["", "a"]),
        (text(v3::string_matcher::MatchPattern::Exact(owned("aB")), true), vec!["Ab", "aB"], vec!["a"]),
        (text(v3::string_matcher::MatchPattern::Prefix(owned("aB")), true), vec!["Abc"], vec!["a"]),
        (text(v3::string_matcher::MatchPattern::Suffix(owned("aB")), true), vec!["cAb"], vec!["b"]),
        (text(v3::string_matcher::MatchPattern::Contains(owned("aB")), true), vec!["cAbc"], vec!["a", ""]),
        (text(v3::string_matcher::MatchPattern::Contains(owned("aB")), false), vec!["caBc"], vec!["Ab"]),
    ] {
        for (values, expected) in [(yes, true), (no, false)] {
            for value in values {
                assert_eq!(matches(test.clone(), false, false, &[value]), expected, "{test:?} on {value:?}");
                assert_eq!(matches(test.clone(), true, false, &[value]), !expected, "not {test:?} on {value:?}");
            }
        }
    }
}

#[test]
fn the_opposite_of_an_expression_lets_no_stray_bytes_through() {
    use cilium_proto::envoy::r#type::matcher::v3;
    let matcher = PbMatcher {
        name: "x".to_owned(),
        header_match_specifier: Some(Test::SafeRegexMatch(v3::RegexMatcher { regex: "/secret/.*".to_owned() })),
        invert_match: true,
        ..Default::default()
    };
    let (_, policy) = map(vec![port(80, vec![http(vec![headers(vec![matcher])], rule("r", &[]))])]);
    for (value, reason) in [
        (&b"/public"[..], None),
        ("/\u{e9}".as_bytes(), None),
        (b"/secret/a", Some(r#"rule "r": header "x" matches "/secret/.*""#)),
        (b"/secret/\xff", Some(r#"rule "r": header "x" is not UTF-8"#)),
        (b"/public\xff", Some(r#"rule "r": header "x" is not UTF-8"#)),
    ] {
        let mut request: HeaderList = [("x", value)].into_iter().collect();
        let verdict = policy.port(Direction::Ingress, 80).http(0, 1, &mut request, &mut HeaderLog::default());
        assert_eq!(verdict.allowed, reason.is_none(), "{value:?}");
        if let Some(reason) = reason {
            assert_eq!(verdict.reason.to_string(), reason);
        }
    }
}

#[test]
fn missing_headers_pass_presence_tests_only() {
    let exact = || Some(Test::ExactMatch("a".to_owned()));
    assert!(!matches(exact(), false, false, &[]) && !matches(exact(), true, false, &[]));
    assert!(!matches(exact(), false, true, &[]) && matches(exact(), true, true, &[]));
    let present = |present| Some(Test::PresentMatch(present));
    assert!(!matches(present(true), false, false, &[]) && matches(present(true), true, false, &[]));
    assert!(matches(present(false), false, false, &[]) && !matches(present(false), true, false, &[]));
    assert!(matches(present(true), false, true, &[]));
}

#[test]
fn what_the_api_forbids_is_refused() {
    use cilium_proto::envoy::r#type::matcher::v3;
    let of = |test| PbMatcher { name: "x".to_owned(), header_match_specifier: Some(test), ..Default::default() };
    let regex = |regex: &str| v3::RegexMatcher { regex: regex.to_owned() };
    let pattern =
        |pattern, ignore_case| of(Test::StringMatch(v3::StringMatcher { match_pattern: pattern, ignore_case }));
    for (matcher, field) in [
        (PbMatcher::default(), "name"),
        (PbMatcher { name: "a\nb".to_owned(), ..Default::default() }, "name"),
        (of(Test::PrefixMatch(String::new())), "prefix_match"),
        (of(Test::SuffixMatch(String::new())), "suffix_match"),
        (of(Test::ContainsMatch(String::new())), "contains_match"),
        (of(Test::SafeRegexMatch(regex(""))), "safe_regex_match.regex"),
        (of(Test::SafeRegexMatch(regex("("))), "safe_regex_match.regex"),
        (pattern(None, false), "string_match.match_pattern"),
        (pattern(Some(v3::string_matcher::MatchPattern::SafeRegex(regex("a"))), true), "string_match.ignore_case"),
        (pattern(Some(v3::string_matcher::MatchPattern::Prefix(String::new())), false), "string_match.prefix"),
    ] {
        let rejected = refused(vec![port(80, vec![http(vec![headers(vec![matcher])], rule("r", &[]))])]);
        let expected = format!("ingress_per_port_policies[0].rules[0].http_rules.http_rules[0].headers[0].{field}");
        assert_eq!(rejected.field(), Some(expected.as_str()), "{rejected}");
    }
    assert!(
        refused(vec![port(80, vec![http(vec![], rule("r", &[]))])]).field().unwrap().ends_with("http_rules.http_rules")
    );
}
