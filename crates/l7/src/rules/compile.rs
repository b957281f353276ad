//! From names and values to matchers.

use std::collections::BTreeMap;

use cilium_policy::GenericRule;
use regex::bytes::{Regex, RegexBuilder};

use crate::custom::Protocol;
use crate::rules::{CompiledRules, Matcher, Rule, RuleSet, RulesError};
use crate::{cassandra, kafka, memcache, r2d2, test_parsers};

/// Memory a compiled regular expression may take.
const REGEX_SIZE: usize = 1 << 20;

/// Compiles the L7 part of a rule for a parser. Unknown names and values that make no sense are refused.
pub fn compile_rules(parser: &str, rules: RuleSet<'_>) -> Result<CompiledRules, RulesError> {
    let error = |detail: String| RulesError { parser: parser.to_owned(), detail };
    match rules {
        RuleSet::Any => Ok(CompiledRules::default()),
        RuleSet::Kafka(rules) if parser == kafka::NAME => {
            let allow = rules.iter().map(|rule| Rule { name: None, matcher: Matcher::Kafka(rule.clone()) });
            Ok(CompiledRules { allow: allow.collect(), deny: Vec::new() })
        }
        RuleSet::Generic { .. } if parser == kafka::NAME => Err(error("it takes kafka_rules, not l7_rules".into())),
        RuleSet::Generic { allow, deny } => Ok(CompiledRules {
            allow: allow.iter().map(|rule| generic(parser, rule)).collect::<Result<_, _>>().map_err(error)?,
            deny: deny.iter().map(|rule| generic(parser, rule)).collect::<Result<_, _>>().map_err(error)?,
        }),
        RuleSet::Kafka(_) => Err(error("kafka_rules are for the parser kafka, this one takes l7_rules".into())),
    }
}

/// As [`compile_rules`], for a protocol from outside.
pub fn compile_custom(parser: &str, protocol: &dyn Protocol, rules: RuleSet<'_>) -> Result<CompiledRules, RulesError> {
    let error = |detail: String| RulesError { parser: parser.to_owned(), detail };
    let compile = |rules: &[GenericRule]| {
        let compiled = rules.iter().map(|rule| Ok(Rule::new(rule, Matcher::Custom(protocol.compile(&rule.fields)?))));
        compiled.collect::<Result<_, _>>().map_err(error)
    };
    match rules {
        RuleSet::Any => Ok(CompiledRules::default()),
        RuleSet::Generic { allow, deny } => Ok(CompiledRules { allow: compile(allow)?, deny: compile(deny)? }),
        RuleSet::Kafka(_) => Err(error("kafka_rules are for the parser kafka, this one takes l7_rules".into())),
    }
}

fn generic(parser: &str, rule: &GenericRule) -> Result<Rule, String> {
    let matcher = match parser {
        test_parsers::HEADER => Matcher::Header(test_parsers::HeaderRule::compile(Fields::new(&rule.fields))?),
        r2d2::NAME => Matcher::R2d2(r2d2::CommandRule::compile(Fields::new(&rule.fields))?),
        cassandra::NAME => Matcher::Cassandra(cassandra::StatementRule::compile(Fields::new(&rule.fields))?),
        memcache::NAME => Matcher::Memcache(memcache::KeyRule::compile(Fields::new(&rule.fields))?),
        _ => return Err("it takes no rules".into()),
    };
    Ok(Rule::new(rule, matcher))
}

impl Rule {
    fn new(rule: &GenericRule, matcher: Matcher) -> Self {
        Self { name: (!rule.name.is_empty()).then(|| rule.name.as_str().into()), matcher }
    }
}

/// The names and values of a rule; each is taken once, and none may be left.
pub(crate) struct Fields<'a> {
    fields: BTreeMap<&'a str, &'a str>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn new(fields: &'a BTreeMap<String, String>) -> Self {
        Self { fields: fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(), known: Vec::new() }
    }

    /// The value of a name; empty if it is not there.
    pub(crate) fn take(&mut self, name: &'static str) -> &'a str {
        self.known.push(name);
        self.fields.remove(name).unwrap_or_default()
    }

    /// Refuses names that were not taken.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("unknown key {name:?}, the keys are {}", self.known.join(", "))),
        }
    }
}

/// Compiles a regular expression that may match anywhere; `None` for an empty one.
pub(crate) fn regex(key: &str, pattern: &str) -> Result<Option<Regex>, String> {
    if pattern.is_empty() {
        return Ok(None);
    }
    RegexBuilder::new(pattern)
        .size_limit(REGEX_SIZE)
        .build()
        .map(Some)
        .map_err(|error| format!("{key} {pattern:?} is not a regular expression: {error}"))
}
