use std::any::Any;
use std::collections::BTreeMap;

use super::*;
use crate::custom::CustomRule;

const PARSER: &str = "test.headerparser";
const ASKER: Asker<'_> = Asker { parser: PARSER, proxy_id: 0, remote: 1, server_name: "", protocol: None };

fn prefixed(prefix: &str) -> GenericRule {
    GenericRule { fields: [("prefix".to_owned(), prefix.to_owned())].into(), ..GenericRule::default() }
}

fn candidate(precedence: u32, rules: L7RuleSet<'_>) -> L7Candidate<'_> {
    L7Candidate { deny: false, pass_below: None, precedence, name: None, l7_proto: PARSER, rules }
}

fn allow(rules: &[GenericRule]) -> L7RuleSet<'_> {
    L7RuleSet::Generic { allow: rules, deny: &[] }
}

fn allows(candidates: &[L7Candidate<'_>], line: &[u8]) -> bool {
    let rules = Rules::new(ASKER, candidates.iter().copied()).unwrap_or_else(|error| panic!("{error}"));
    rules.decide(&Request::Header(line)).allowed
}

#[test]
fn no_rule_that_fits_denies() {
    let rules = [prefixed("a")];
    assert!(allows(&[candidate(0, allow(&rules))], b"abc"));
    assert!(!allows(&[candidate(0, allow(&rules))], b"bcd"));
    assert!(!allows(&[], b"abc"));
}

#[test]
fn any_rule_of_a_precedence_may_allow() {
    let (one, other) = ([prefixed("a")], [prefixed("b")]);
    assert!(allows(&[candidate(0, allow(&one)), candidate(0, allow(&other))], b"bcd"));
}

#[test]
fn a_rule_that_denies_a_message_wins_at_its_precedence_only() {
    let (denied, allowed) = ([prefixed("ab")], [prefixed("a")]);
    let denying = |precedence| candidate(precedence, L7RuleSet::Generic { allow: &[], deny: &denied });
    assert!(!allows(&[candidate(1, allow(&allowed)), denying(1)], b"abc"));
    assert!(allows(&[candidate(2, allow(&allowed)), denying(1)], b"abc"));
    assert!(!allows(&[denying(2), candidate(1, allow(&allowed))], b"abc"));
}

#[test]
fn a_deny_rule_wins_at_its_precedence() {
    let deny = L7Candidate { deny: true, ..candidate(1, L7RuleSet::Any) };
    assert!(!allows(&[deny, candidate(1, L7RuleSet::Any)], b"abc"));
    assert!(allows(&[candidate(2, L7RuleSet::Any), deny], b"abc"));
}

#[test]
fn a_pass_skips_to_the_rules_below() {
    let rules = [prefixed("a")];
    let pass = L7Candidate { pass_below: Some(5), ..candidate(9, L7RuleSet::Any) };
    let deny = L7Candidate { deny: true, ..candidate(7, L7RuleSet::Any) };
    assert!(allows(&[pass, deny, candidate(3, allow(&rules))], b"abc"));
    assert!(!allows(&[deny, candidate(3, allow(&rules))], b"abc"));
}

#[test]
fn rules_that_the_parser_cannot_check_are_refused() {
    let unknown = [GenericRule { fields: [("infix".to_owned(), "a".to_owned())].into(), ..GenericRule::default() }];
    let metadata = [GenericRule { has_metadata: true, ..GenericRule::default() }];
    let kafka = L7Candidate { l7_proto: "kafka", ..candidate(0, L7RuleSet::Any) };
    for candidate in
        [candidate(0, allow(&unknown)), candidate(0, allow(&metadata)), candidate(0, L7RuleSet::Http), kafka]
    {
        assert!(Rules::new(ASKER, [candidate].into_iter()).is_err(), "{candidate:?}");
    }
    let rules = [prefixed("a")];
    let nobodys = L7Candidate { l7_proto: "", ..candidate(0, allow(&rules)) };
    assert!(Rules::new(ASKER, [nobodys].into_iter()).is_err());
}

#[test]
fn a_rule_without_parser_allows_every_message() {
    let plain = L7Candidate { l7_proto: "", ..candidate(0, L7RuleSet::Any) };
    assert!(allows(&[plain], b"abc"));
}

#[test]
fn the_rule_that_decided_is_named() {
    let named = L7Candidate { name: Some("lines"), ..candidate(0, L7RuleSet::Any) };
    let rules = Rules::new(ASKER, [named].into_iter()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rules.decide(&Request::Header(b"a")).rule.as_deref(), Some("lines"));
}

/// A protocol whose rules match everything.
#[derive(Debug)]
struct Anything;

impl Protocol for Anything {
    fn compile(&self, fields: &BTreeMap<String, String>) -> Result<Box<dyn CustomRule>, String> {
        if fields.is_empty() { Ok(Box::new(Self)) } else { Err("unknown key".to_owned()) }
    }
}

impl CustomRule for Anything {
    fn matches(&self, _message: &dyn Any) -> Option<bool> {
        Some(true)
    }
}

#[test]
fn a_protocol_from_outside_checks_its_own_rules() {
    let asker = Asker { protocol: Some(&Anything), ..ASKER };
    let rules = [GenericRule::default()];
    let rules = Rules::new(asker, [candidate(0, allow(&rules))].into_iter()).unwrap_or_else(|error| panic!("{error}"));
    assert!(rules.decide(&Request::Custom(&())).allowed);
    let unknown = [prefixed("a")];
    assert!(Rules::new(asker, [candidate(0, allow(&unknown))].into_iter()).is_err());
}
