//! The words of a text: how many are read at all, and those that the parser does not know.

use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// Most tokens that may nest a statement's tree one deeper. The parser bounds parentheses, but not `1+1+1+...`, whose tree is as deep
/// as the text is long; walking it and freeing it takes stack for each level.
const MAX_DEEPENING: usize = 4096;

/// The tokens of a text, without whitespace; `None` if it is none, or too deep.
pub(super) fn tokens(dialect: &dyn Dialect, sql: &str) -> Option<Vec<TokenWithSpan>> {
    let mut tokens = Tokenizer::new(dialect, sql).tokenize_with_location().ok()?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let mut deepening = 0;
    let mut before = &Token::Comma;
    for token in tokens.iter().map(|token| &token.token) {
        deepening += usize::from(deepens(token, before));
        before = token;
    }
    (deepening <= MAX_DEEPENING).then(|| known(tokens))
}

/// Writes what the parser does not know as what it means:
/// - `LOCK IN SHARE MODE` as `FOR SHARE`. The words are nothing else in any statement.
/// - `SET NAMES x, y = z` as `SET NAMES x; SET y = z`.
fn known(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    const LOCK: [Keyword; 4] = [Keyword::LOCK, Keyword::IN, Keyword::SHARE, Keyword::MODE];
    let rewritten = |word: &Keyword| tokens.iter().any(|token| is_word(token, *word));
    if ![LOCK[0], Keyword::NAMES].iter().any(rewritten) {
        return tokens;
    }
    let mut known = Vec::with_capacity(tokens.len() + 1);
    let mut rest = &tokens[..];
    while let [first, others @ ..] = rest {
        let begins = known.last().is_none_or(|last: &TokenWithSpan| last.token == Token::SemiColon);
        if starts_with(rest, &LOCK) {
            known.extend(["FOR", "SHARE"].map(|word| TokenWithSpan::wrap(Token::make_keyword(word))));
            rest = &rest[LOCK.len()..];
        } else if begins && let Some(length) = names(rest) {
            known.extend_from_slice(&rest[..length]);
            known.extend([Token::SemiColon, Token::make_keyword("SET")].map(TokenWithSpan::wrap));
            rest = &rest[length + 1..];
        } else {
            known.push(first.clone());
            rest = others;
        }
    }
    known
}

/// Length of a `SET NAMES` that goes on after a comma.
fn names(tokens: &[TokenWithSpan]) -> Option<usize> {
    let comma = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::Comma);
    // The value is at 2.
    let length = if starts_with(tokens.get(3..)?, &[Keyword::COLLATE]) { 5 } else { 3 };
    (starts_with(tokens, &[Keyword::SET, Keyword::NAMES]) && comma(length)).then_some(length)
}

fn starts_with(tokens: &[TokenWithSpan], words: &[Keyword]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| is_word(token, *word))
}

fn is_word(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword)
}

/// Whatever long lists of values are not made of.
fn deepens(token: &Token, before: &Token) -> bool {
    match token {
        Token::Minus | Token::Plus => !matches!(before, Token::Comma | Token::LParen),
        Token::Word(word) => !matches!(
            word.keyword,
            Keyword::NoKeyword
                | Keyword::NULL
                | Keyword::DEFAULT
                | Keyword::TRUE
                | Keyword::FALSE
                | Keyword::CURRENT_TIMESTAMP
        ),
        Token::EOF
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::SemiColon
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_) => false,
        _ => true,
    }
}
