//! How deep the syntax tree will be, told from the tokens.
//!
//! The parser bounds how deep parentheses nest, but `1 + 1 + 1 + …` makes a tree as deep as it is long without nesting,
//! and all that walks the tree afterwards would exhaust the stack. So operators are counted before anything is parsed:
//! those since the last comma or clause, at every level of parentheses and `CASE` that is open.

use datafusion_sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

/// Well below what the stack of a thread holds, well above what people write.
const MAX_OPERATORS: usize = 400;

/// The first token that makes a tree too deep.
pub(super) fn too_deep(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let mut levels = vec![0_usize];
    let mut queries = 0;
    tokens.iter().find(|token| {
        match role(&token.token) {
            Role::Open => levels.push(0),
            Role::Close => {
                levels.pop();
            }
            Role::Separator => {
                levels.pop();
                levels.push(0);
            }
            Role::Statement => {
                levels = vec![0];
                queries = 0;
            }
            Role::Query => queries += 1,
            Role::Operator => {
                let count = levels.pop().unwrap_or_default();
                levels.push(count + 1);
            }
            Role::Other => {}
        }
        queries + levels.iter().sum::<usize>() > MAX_OPERATORS
    })
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
