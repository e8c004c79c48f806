//! How deep the syntax tree will be, told from the tokens.
//!
//! The parser bounds how deep parentheses nest, but `1 + 1 + 1 + …` makes a tree as deep as it is long without nesting,
//! and all that walks the tree afterwards would exhaust the stack. So operators are counted before anything is parsed:
//! those since the last comma or clause, at every level of parentheses and `CASE` that is open. Counted, too, are the words
//! that make the parser begin again where it does not understand what is behind them.

use datafusion_sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

/// Well below what the stack of a thread holds, well above what people write.
const MAX_OPERATORS: usize = 400;
/// What is within so many [`Role::Twice`] is read up to 4,096 times.
const MAX_TWICE: usize = 12;

/// What is open: parentheses or a `CASE`.
#[derive(Default)]
struct Level {
    /// Since the last comma or clause.
    operators: usize,
    /// Words before it, one behind the other, behind which the parser begins again.
    twice: usize,
}

/// The first token that makes a tree too deep, or one that takes the parser too long.
pub(super) fn too_deep(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let mut levels = vec![Level::default()];
    let (mut queries, mut in_a_row) = (0, 0);
    tokens.iter().find(|token| {
        let role = role(&token.token);
        let is_twice = is_read_twice(&token.token);
        in_a_row += usize::from(is_twice);
        match role {
            Role::Open => levels.push(Level { operators: 0, twice: std::mem::take(&mut in_a_row) }),
            Role::Close => drop(levels.pop()),
            Role::Separator => {
                levels.last_mut().into_iter().for_each(|level| level.operators = 0);
            }
            Role::Statement => {
                levels = vec![Level::default()];
                queries = 0;
            }
            Role::Query => queries += 1,
            Role::Operator => match levels.last_mut() {
                Some(level) => level.operators += 1,
                None => levels.push(Level { operators: 1, twice: 0 }),
            },
            Role::Other => {}
        }
        if !is_twice {
            in_a_row = 0;
        }
        let operators = queries + levels.iter().map(|level| level.operators).sum::<usize>();
        let twice = in_a_row + levels.iter().map(|level| level.twice).sum::<usize>();
        operators > MAX_OPERATORS || twice > MAX_TWICE
    })
}

/// Whether the parser, where it does not understand what is behind this word, takes the word for a name and reads on from it a
/// second time: of ten within each other the innermost is read a thousand times.
fn is_read_twice(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    matches!(
        word.keyword,
        Keyword::CASE
            | Keyword::CAST
            | Keyword::TRY_CAST
            | Keyword::SAFE_CAST
            | Keyword::CONVERT
            | Keyword::TRY_CONVERT
            | Keyword::EXISTS
            | Keyword::EXTRACT
            | Keyword::CEIL
            | Keyword::FLOOR
            | Keyword::POSITION
            | Keyword::SUBSTR
            | Keyword::SUBSTRING
            | Keyword::OVERLAY
            | Keyword::TRIM
            | Keyword::INTERVAL
            | Keyword::NOT
    )
}

enum Role {
    Open,
    Close,
    /// Begins a list item or a clause: what was before is no part of what follows.
    Separator,
    Statement,
    /// Joins two queries.
    Query,
    Operator,
    Other,
}

fn role(token: &Token) -> Role {
    match token {
        Token::LParen => Role::Open,
        Token::RParen => Role::Close,
        Token::Comma => Role::Separator,
        Token::SemiColon => Role::Statement,
        Token::Word(word) => match word.keyword {
            Keyword::CASE => Role::Open,
            Keyword::END => Role::Close,
            Keyword::SELECT
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::QUALIFY
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE => Role::Separator,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => Role::Query,
            Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::NOTNULL
            | Keyword::IN
            | Keyword::BETWEEN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::MEMBER
            | Keyword::OVERLAPS
            | Keyword::DIV => Role::Operator,
            _ => Role::Other,
        },
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => Role::Other,
        _ => Role::Operator,
    }
}
