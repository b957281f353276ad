use proptest::prelude::*;

use super::*;

#[test]
fn patterns_are_checked() {
    for pattern in ["***", "a.***.b", "a.b**", "a.", ".a", "a..b", "^a$", "a+", "(a|b)", "é"] {
        let error = SniPattern::new(pattern).unwrap_err();
        assert!(error.to_string().starts_with(&format!("SniPattern: Unsupported match pattern {pattern}: ")));
    }
    assert!(SniPattern::new(&vec!["a"; MAX_LABELS + 1].join(".")).is_err());
    assert!(!SniPattern::new("").unwrap().matches(""));
}

#[test]
fn errors_say_what_is_wrong() {
    for (pattern, problem) in [
        ("a..b", "a label is empty"),
        ("a.b**", r#""**" must be a whole label, not a part of "b**""#),
        ("(a)", "'(' is none of the letters, digits, '-', '_' and '*' that a label may hold"),
    ] {
        assert_eq!(SniPattern::new(pattern).unwrap_err().problem, problem);
    }
}

#[test]
fn an_empty_label_may_stand_for_a_single_star_only() {
    assert!(SniPattern::new("**.*.**.e").unwrap().matches("a.b.c..d.e"));
    assert!(!SniPattern::new("**.e").unwrap().matches("a..e"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The pattern as the expression that defines it.
    #[test]
    fn patterns_match_as_their_expression(
        pattern in "([*]{1,2}|[*]?[aB]([*][a-])?[*]?)([.]([*]{1,2}|[*]?[ab][*]?)){0,3}",
        name in "[aAb.-]{0,8}",
    ) {
        let lower = pattern.to_ascii_lowercase();
        let expression = match lower.as_str() {
            "*" => "[-a-z0-9_]+([.][-a-z0-9_]+)*".to_owned(),
            _ => lower
                .replace('.', "[.]")
                .replace("**", "<labels>")
                .replace('*', "[-a-z0-9_]{0,}")
                .replace("<labels>", "[-a-z0-9_]+([.][-a-z0-9_]+){0,}"),
        };
        let expression = crate::regex::Regex::new(&expression).unwrap();
        let expected = expression.is_match(name.to_ascii_lowercase().as_bytes());
        prop_assert_eq!(SniPattern::new(&pattern).unwrap().matches(&name), expected, "{:?} {:?}", expression, name);
    }
}
