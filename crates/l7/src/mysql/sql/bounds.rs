//! How much of a statement is read at all.

use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// Most tokens that may nest a statement's tree one deeper. The parser bounds parentheses, but not `1+1+1+...`, whose tree is as deep
/// as the text is long; walking it and freeing it takes stack for each level.
const MAX_DEEPENING: usize = 4096;

/// The tokens of a text; `None` if it is none, or too deep.
pub(super) fn tokens(dialect: &dyn Dialect, sql: &str) -> Option<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(dialect, sql).tokenize_with_location().ok()?;
    let mut deepening = 0;
    let mut before = &Token::Comma;
    for token in tokens.iter().map(|token| &token.token) {
        deepening += usize::from(deepens(token, before));
        if !matches!(token, Token::Whitespace(_)) {
            before = token;
        }
    }
    (deepening <= MAX_DEEPENING).then_some(tokens)
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
        | Token::Whitespace(_)
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
