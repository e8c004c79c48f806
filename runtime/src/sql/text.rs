//! The user's text as tokens: what is read, and where keywords stand that the syntax tree has no place for.

use datafusion_sql::sqlparser::{
    ast::Statement,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use super::{
    depth::too_deep,
    dialect::StreamDialect,
    error::{Position, SqlError},
    touching, unsupported,
};
use crate::words;

/// More would be a mistake, or meant to exhaust the stack.
const MAX_TOKENS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Text {
    /// Without white space and comments.
    tokens: Vec<TokenWithSpan>,
}

/// What stands between two operands.
pub(super) const OPERATORS: &str =
    "accepted are + - * / % ||, = <> < <= > >=, AND, OR, [NOT] LIKE, [NOT] IN, [NOT] BETWEEN and IS [NOT]";

impl Text {
    pub(super) fn read(sql: &str) -> Result<Self, SqlError> {
        let tokens = Tokenizer::new(&StreamDialect, sql)
            .tokenize_with_location()
            .map_err(|error| SqlError::new(Position::at(error.location), words::plain(&error.message)))?;
        tokens.iter().try_for_each(unsupported::hint)?;
        touching::check(&tokens)?;
        let tokens: Vec<_> =
            tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect();
        if let Some(first_too_many) = tokens.get(MAX_TOKENS) {
            return Err(SqlError::new(
                Position::of(first_too_many.span),
                format!("the text is too long; accepted are {MAX_TOKENS} words and signs"),
            ));
        }
        if let Some(deep) = too_deep(&tokens) {
            return Err(SqlError::new(Position::of(deep.span), "the expression is nested too deeply or too long"));
        }
        Ok(Self { tokens })
    }

    /// The statements, each with where it begins.
    pub(super) fn statements(&self) -> Result<Vec<(Position, Statement)>, SqlError> {
        let mut parser = Parser::new(&StreamDialect).with_tokens_with_locations(self.tokens.clone());
        let mut statements = Vec::new();
        loop {
            while parser.consume_token(&Token::SemiColon) {}
            let next = parser.peek_token();
            if next.token == Token::EOF {
                return Ok(statements);
            }
            let at = Position::of(next.span).unwrap_or(Position { line: 1, column: 1 });
            let rest = self.tokens.get(parser.index()..).unwrap_or_default();
            unsupported::statement(rest)?;
            let parsed = parser.parse_statement();
            let statement =
                parsed.map_err(|error| unsupported::construct(rest).unwrap_or_else(|| self.syntax(&error, at)))?;
            let end = parser.peek_token();
            if !matches!(end.token, Token::SemiColon | Token::EOF) {
                if let Some(refusal) = unsupported::construct(rest) {
                    return Err(refusal);
                }
                return Err(SqlError::new(
                    Position::of(end.span).or(Some(at)),
                    format!("expected the end of the statement or `;`, found: {}", end.token),
                ));
            }
            statements.push((at, statement));
        }
    }

    /// The first token of `keywords` that begins at `from` or after it; `from` itself when there is none.
    pub(super) fn keyword_after(&self, keywords: &[Keyword], from: Position) -> Position {
        self.places(keywords).find(|at| *at >= from).unwrap_or(from)
    }

    /// The last token of `keyword` that begins before `until`; `until` itself when there is none.
    pub(super) fn keyword_before(&self, keyword: Keyword, until: Position) -> Position {
        self.places(&[keyword]).take_while(|at| *at < until).last().unwrap_or(until)
    }

    fn places<'a>(&'a self, keywords: &'a [Keyword]) -> impl Iterator<Item = Position> + 'a {
        self.tokens
            .iter()
            .filter(|token| matches!(&token.token, Token::Word(word) if keywords.contains(&word.keyword)))
            .filter_map(|token| Position::of(token.span))
    }

    fn end(&self) -> Option<Position> {
        self.tokens.last().and_then(|token| Position::at(token.span.end))
    }

    /// The parser writes the place into its message: take it out again.
    fn syntax(&self, error: &ParserError, statement: Position) -> SqlError {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
            ParserError::RecursionLimitExceeded => {
                return SqlError::new(statement, "the statement is nested too deeply");
            }
        };
        let (message, place) = text.rsplit_once(" at Line: ").unwrap_or((text, ""));
        let numbers: Vec<u64> = place.split(", Column: ").filter_map(|part| part.trim().parse().ok()).collect();
        let at = match numbers.as_slice() {
            [line, column] => Position::at(Location { line: *line, column: *column }),
            _ if message.contains("EOF") => self.end(),
            _ => None,
        };
        if message.starts_with("No infix parser for token ") {
            let token = self.tokens.iter().find(|token| at.is_some() && Position::of(token.span) == at);
            let token = token.map_or_else(|| "…".to_owned(), |token| token.token.to_string());
            let message = format!("found the operator {token}, which is not supported; {OPERATORS}");
            return SqlError::new(at.unwrap_or(statement), message);
        }
        let message = message.strip_prefix("Expected: ").map_or(message.to_owned(), |rest| format!("expected {rest}"));
        let message = words::plain(&message.replace("found: EOF", "found: the end of the text"));
        SqlError::new(at.unwrap_or(statement), message)
    }
}
