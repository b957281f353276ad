use super::*;

fn rule(fields: &[(&str, &str)]) -> GenericRule {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    GenericRule { name: String::new(), fields }
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
