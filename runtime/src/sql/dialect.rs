//! What the parser does not know, or reads otherwise than SQL has it: `TABLE t` as an argument, as in `TUMBLE(TABLE t, …)`, where
//! the right side of `IS DISTINCT FROM` ends, and that `=` and `<` bind less than `LIKE`, `IN` and `BETWEEN`.

use datafusion_sql::sqlparser::{
    ast::{Expr, Ident, ObjectNamePart},
    dialect::{AnsiDialect, Dialect, Precedence},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

/// Plain SQL with `"…"` and `` `…` `` for quoted names, `FILTER (WHERE …)` on aggregates, and [`table_argument`]s.
#[derive(Debug)]
pub(super) struct StreamDialect;

const MARK: &str = "TABLE";

/// The name in `TABLE name`, where the expression is one.
pub(super) fn table_argument(expr: &Expr) -> Option<&[Ident]> {
    match expr {
        Expr::Prefixed { prefix, value } if prefix.value == MARK => match value.as_ref() {
            Expr::CompoundIdentifier(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

impl Dialect for StreamDialect {
    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_alphanumeric() || c == '_'
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        c == '"' || c == '`'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    // Read to be refused with a place, as the next.
    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    /// As PostgreSQL has it, and Calcite.
    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            // Between those of IS and LIKE.
            Precedence::Eq => 18,
            other => AnsiDialect {}.prec_value(other),
        }
    }

    /// The parser takes all that follows for the right side of `IS [NOT] DISTINCT FROM`, up to the last `AND` and `OR`.
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        let made = if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            Expr::IsDistinctFrom
        } else if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            Expr::IsNotDistinctFrom
        } else {
            return None;
        };
        Some(parser.parse_subexpr(precedence).map(|right| made(Box::new(left.clone()), Box::new(right))))
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let [word, next] = parser.peek_tokens_with_location();
        let (Token::Word(word_token), Token::Word(_)) = (&word.token, &next.token) else { return None };
        if word_token.keyword != Keyword::TABLE || word_token.quote_style.is_some() {
            return None;
        }
        parser.advance_token();
        Some(parser.parse_object_name(false).map(|name| {
            Expr::Prefixed {
                prefix: Ident::with_span(word.span, MARK),
                value: Box::new(Expr::CompoundIdentifier(
                    name.0
                        .into_iter()
                        .filter_map(|part| match part {
                            ObjectNamePart::Identifier(ident) => Some(ident),
                            ObjectNamePart::Function(_) => None,
                        })
                        .collect(),
                )),
            }
        }))
    }
}
