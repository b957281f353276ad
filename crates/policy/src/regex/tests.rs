use super::*;

fn matches(pattern: &str, subject: impl AsRef<[u8]>) -> bool {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{error}")).is_match(subject.as_ref())
}

fn problem(pattern: &str) -> String {
    Regex::new(pattern).expect_err(pattern).problem
}

#[test]
fn the_whole_subject_must_match() {
    assert!(matches("/public/.*", "/public/a"));
    assert!(!matches("/public", "/public/a"));
    assert!(!matches("a|ab", "abc"));
    assert!(matches("a|ab", "ab"));
    assert!(!matches("a$", "a\n"));
}

#[test]
fn perl_classes_are_ascii() {
    assert!(matches(r"\d\w\s", "1a "));
    for subject in ["٣", "é", "\u{a0}"] {
        assert!(!matches(r"\d|\w|\s", subject), "{subject}");
        assert!(matches(r"\D\b|\W|\S", subject), "{subject}");
    }
    assert!(!matches(r"\s", "\x0b"));
    assert!(matches("[[:space:]]", "\x0b"));
}

#[test]
fn case_folding_knows_letters_beyond_ascii() {
    assert!(matches("(?i)k", "\u{212a}"));
    assert!(matches(r"(?i)\w", "\u{17f}"));
    assert!(matches("(?i)[a-z]+", "ABZ"));
    assert!(!matches("(?i:a)b", "AB"));
    assert!(!matches("(?i)a(?-i)b", "AB"));
    assert!(matches("(?i)[^x]", "y"));
    assert!(!matches("(?i)[^x]", "X"));
}

#[test]
fn dot_excludes_newline_unless_told() {
    assert!(!matches(".", "\n"));
    assert!(matches("(?s).", "\n"));
    assert!(matches("[^a]", "\n"));
}

#[test]
fn any_byte_and_invalid_utf8_are_as_in_re2() {
    assert!(!matches(".", b"\xff"));
    assert!(matches(r"\C", b"\xff"));
    assert!(matches(".", "é"));
    assert!(matches(r"\C\C", "é"));
    // Overlong and surrogate encodings pass where everything beyond ASCII does.
    assert!(matches(".", b"\xe0\x80\x80"));
    assert!(matches(".", b"\xed\xa0\x80"));
    assert!(matches("[^a]", b"\xf4\xbf\xbf\xbf"));
    assert!(!matches(r"[\x{800}-\x{fff}]", b"\xe0\x80\x80"));
    assert!(matches(r"\xff", "\u{ff}"));
}

#[test]
fn braces_without_a_count_are_literal() {
    for pattern in ["a{", "a{,5}", "a{x}", "a{01}", "{", "}"] {
        assert!(matches(pattern, pattern), "{pattern}");
    }
    assert!(matches("a{2,3}", "aaa"));
    assert!(!matches("a{2,3}", "aaaa"));
    assert!(matches("a{0}", ""));
}

#[test]
fn quoted_text_is_literal() {
    assert!(matches(r"\Qa.b\E+", "a.bb"));
    assert!(!matches(r"\Qa.b\E", "axb"));
    assert!(matches(r"\Qa\", r"a\"));
}

#[test]
fn octal_and_hex_escapes_are_read() {
    assert!(matches(r"\12", "\n"));
    assert!(matches(r"\101\x41\x{41}", "AAA"));
    assert!(matches(r"\0", "\0"));
    assert!(matches(r"\_\-", "_-"));
}

#[test]
fn unicode_names_are_exact() {
    assert!(matches(r"\pN", "٣"));
    assert!(matches(r"\p{Greek}\P{Greek}\p{^Greek}", "αaa"));
    assert!(matches(r"[\p{Lu}\d]+", "Ä1"));
    for pattern in [r"\p{greek}", r"\p{Letter}", r"\p{Alphabetic}", r"\pX", r"\p"] {
        assert!(problem(pattern).contains("invalid character class range"), "{pattern}");
    }
}

#[test]
fn brackets_take_a_first_closing_bracket_and_hyphens() {
    assert!(matches("[]a]+", "]a"));
    assert!(matches("[a-]+", "a-"));
    assert!(matches("[-a]+", "a-"));
    assert!(matches("[a-c-e]+", "b-e"));
    assert!(matches("[[:alpha:][:^digit:]]", "x"));
    assert!(matches("[[a]", "["));
}

#[test]
fn groups_may_have_names() {
    assert!(matches("(?P<a>.)(?<a>.)", "xy"));
    assert!(problem("(?P<a b>.)").contains("invalid named capture group"));
}

#[test]
fn what_re2_refuses_is_refused() {
    for (pattern, expected) in [
        ("a**", "bad repetition operator: **"),
        ("a*+", "bad repetition operator: *+"),
        ("*a", "no argument for repetition operator: *"),
        ("(|*)", "no argument for repetition operator: *"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("a{3,2}", "invalid repetition size: {3,2}"),
        ("(a{100}){11}", "invalid repetition size: {11}"),
        ("(a", "missing )"),
        ("a)", "unexpected )"),
        ("[a", "missing ]: [a"),
        ("[b-a]", "invalid character class range: b-a"),
        ("[[:foo:]]", "invalid character class range: [:foo:]"),
        (r"\Z", r"invalid escape sequence: \Z"),
        (r"\1", r"invalid escape sequence: \1"),
        (r"\8", r"invalid escape sequence: \8"),
        (r"\E", r"invalid escape sequence: \E"),
        ("\\", r"trailing \"),
        ("(?=a)", "invalid perl operator: (?=a)"),
        ("(?x)a", "invalid perl operator: (?x)a"),
        ("(?<=a)", "invalid named capture group: (?<=a)"),
        ("(?-)", "invalid perl operator: (?-)"),
    ] {
        assert_eq!(problem(pattern), expected);
    }
}

#[test]
fn size_and_nesting_are_bounded() {
    assert!(problem(&"a".repeat(MAX_PATTERN + 1)).contains("longer than"));
    assert!(problem(&("(".repeat(MAX_NESTING + 1) + &")".repeat(MAX_NESTING + 1))).contains("inside each other"));
    assert!(problem(r"\pL{1000}").contains("larger than"));
    assert!(matches(&("(".repeat(MAX_NESTING) + "a" + &")".repeat(MAX_NESTING)), "a"));
}

#[test]
fn word_boundaries_are_ascii_and_lines_end_at_newlines() {
    assert!(matches(r"a\b.*", "a b"));
    assert!(!matches(r"a\Bb\b.c", "abcc"));
    assert!(matches("(?m)a$\n^b", "a\nb"));
    assert!(!matches("a$\n^b", "a\nb"));
}
