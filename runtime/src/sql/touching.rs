//! Words and texts that the parser would take for the name of what stands before them, though nobody has written `AS`: they are
//! one with it, in another dialect or mistyped.

use datafusion_sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use super::error::{Position, SqlError};

/// Words that others have for `IS NULL` and `IS NOT NULL`.
const NULLS: [(&str, &str); 2] = [("ISNULL", "IS NULL"), ("NOTNULL", "IS NOT NULL")];

/// Words behind which a name may stand, or an expression begin.
const BEFORE_NAMES: [Keyword; 20] = [
    Keyword::AS,
    Keyword::SELECT,
    Keyword::DISTINCT,
    Keyword::WHERE,
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::BY,
    Keyword::HAVING,
    Keyword::CASE,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::LIKE,
    Keyword::BETWEEN,
    Keyword::FROM,
    Keyword::VIEW,
    Keyword::INTO,
    Keyword::WITH,
    Keyword::TABLE,
];

/// Refuses what is one, and would be read as two. `tokens` have white space among them.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let pairs = tokens.windows(2).filter_map(|pair| <&[TokenWithSpan; 2]>::try_from(pair).ok());
    pairs.into_iter().try_for_each(|[one, next]| match (&one.token, &next.token) {
        (Token::Number(number, _), Token::Word(word)) if word.quote_style.is_none() => Err(SqlError::new(
            Position::of(next.span),
            format!(
                "found `{word}` right behind the number `{number}`; accepted are digits with a point and an exponent, such as \
                 1000, 1.5 and 1e3"
            ),
        )),
        (Token::Word(word), Token::SingleQuotedString(_))
            if word.quote_style.is_none() && word.keyword == Keyword::NoKeyword =>
        {
            Err(SqlError::new(
                Position::of(next.span),
                format!("found a text right behind `{word}`; accepted are '…', and X'…' for bytes"),
            ))
        }
        _ => Ok(()),
    })?;
    let written: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let pairs = written.windows(2).filter_map(|pair| <&[&TokenWithSpan; 2]>::try_from(pair).ok());
    pairs.into_iter().try_for_each(|[one, next]| match (&one.token, &next.token) {
        (Token::SingleQuotedString(_), Token::SingleQuotedString(_)) => Err(SqlError::new(
            Position::of(next.span),
            "found a text behind a text; accepted is one '…', or || between them".to_owned(),
        )),
        (before, Token::Word(word)) if word.quote_style.is_none() && ends_operand(before) => {
            match NULLS.iter().find(|(name, _)| word.value.eq_ignore_ascii_case(name)) {
                Some((name, accepted)) => {
                    Err(SqlError::new(Position::of(next.span), format!("found {name}; accepted is {accepted}")))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    })
}

/// Whether an expression may end here.
fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen => true,
        Token::Word(word) => word.quote_style.is_some() || !BEFORE_NAMES.contains(&word.keyword),
        _ => false,
    }
}
