use std::any::Any;
use std::collections::BTreeMap;

use super::*;
use crate::custom::Protocol;

fn rule(fields: &[(&str, &str)]) -> GenericRule {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    GenericRule { fields, ..GenericRule::default() }
}

fn compile(parser: &str, allow: &[GenericRule], deny: &[GenericRule]) -> Result<CompiledRules, RulesError> {
    compile_rules(parser, RuleSet::Generic { allow, deny })
}

#[test]
fn unknown_keys_are_refused_with_the_known_ones() {
    let error = compile("r2d2", &[rule(&[("comd", "READ")])], &[]).unwrap_err();
    assert_eq!(error.to_string(), "L7 rules of r2d2: unknown key \"comd\", the keys are cmd, file");
    assert!(compile("test.headerparser", &[rule(&[("infix", "x")])], &[]).is_err());
}

#[test]
fn a_bad_regular_expression_is_refused() {
    let error = compile("r2d2", &[rule(&[("file", "a(")])], &[]).unwrap_err();
    assert!(error.to_string().contains("is not a regular expression"), "{error}");
}

#[test]
fn a_rule_that_denies_wins_and_is_named() {
    let mut denying = rule(&[("prefix", "secret")]);
    denying.name = "no-secrets".into();
    let rules = compile("test.headerparser", &[rule(&[("contains", "e")])], &[denying]).unwrap();
    assert_eq!(
        rules.decide(&Request::Header(b"secret\n")),
        Decision { allowed: false, rule: Some("no-secrets".into()) }
    );
    assert!(rules.decide(&Request::Header(b"hello\n")).allowed);
    assert!(!rules.decide(&Request::Header(b"abc\n")).allowed);
}

#[test]
fn no_rules_that_allow_means_all_that_is_not_denied() {
    let rules = compile("test.headerparser", &[], &[rule(&[("prefix", "x")])]).unwrap();
    assert!(rules.decide(&Request::Header(b"a\n")).allowed);
    assert!(!rules.decide(&Request::Header(b"x\n")).allowed);
}

#[test]
fn no_set_at_all_denies() {
    assert_eq!(decide(std::iter::empty(), &Request::Header(b"a\n")), Decision::DENIED);
}

#[test]
fn rules_of_another_protocol_never_allow_and_always_deny() {
    let allow = compile("r2d2", &[rule(&[])], &[]).unwrap();
    assert!(!allow.decide(&Request::Header(b"a\n")).allowed);
    let deny = compile("r2d2", &[], &[rule(&[("cmd", "READ")])]).unwrap();
    assert!(!deny.decide(&Request::Header(b"a\n")).allowed);
}

/// A protocol whose messages are numbers; rules name one, and cannot tell about 13.
#[derive(Debug)]
struct Numbers;

#[derive(Debug)]
struct Number(u8);

impl Protocol for Numbers {
    fn compile(&self, fields: &BTreeMap<String, String>) -> Result<Box<dyn CustomRule>, String> {
        let number = fields.get("number").ok_or("a number is missing")?;
        Ok(Box::new(Number(number.parse().map_err(|_| format!("{number:?} is no number"))?)))
    }
}

impl CustomRule for Number {
    fn matches(&self, message: &dyn Any) -> Option<bool> {
        message.downcast_ref::<u8>().filter(|number| **number != 13).map(|number| *number == self.0)
    }
}

fn numbers(allow: &[GenericRule], deny: &[GenericRule]) -> Result<CompiledRules, RulesError> {
    compile_custom("numbers", &Numbers, RuleSet::Generic { allow, deny })
}

#[test]
fn a_protocol_from_outside_matches_its_own_messages() {
    let mut one = rule(&[("number", "1")]);
    one.name = "one".into();
    let rules = numbers(&[one], &[rule(&[("number", "2")])]).unwrap();
    assert_eq!(rules.decide(&Request::Custom(&1u8)), Decision { allowed: true, rule: Some("one".into()) });
    assert!(!rules.decide(&Request::Custom(&2u8)).allowed);
    assert!(!rules.decide(&Request::Custom(&3u8)).allowed);
    assert!(!rules.decide(&Request::Header(b"1")).allowed);
}

#[test]
fn a_rule_from_outside_that_cannot_tell_allows_nothing() {
    assert!(!numbers(&[rule(&[("number", "13")])], &[]).unwrap().decide(&Request::Custom(&13u8)).allowed);
    assert!(!numbers(&[], &[rule(&[("number", "1")])]).unwrap().decide(&Request::Custom(&13u8)).allowed);
}

#[test]
fn a_protocol_from_outside_refuses_rules() {
    let error = numbers(&[rule(&[("number", "x")])], &[]).unwrap_err();
    assert_eq!(error.to_string(), "L7 rules of numbers: \"x\" is no number");
    assert!(compile_custom("numbers", &Numbers, RuleSet::Kafka(&[])).is_err());
}
