//! SQL that others have and this does not yet, known by its words.
//!
//! The parser knows a part of it only, and speaks of the word that it stumbles over. So statements are known by their
//! first words before they are parsed, and where the parser has failed the statement is searched for what it may have
//! failed at.

use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use super::error::{Position, SqlError};

pub(super) const STATEMENTS: &str = "accepted are CREATE VIEW name AS SELECT … and INSERT INTO sink SELECT …";

/// First words of statements, and what to do instead. Longer ones before shorter ones.
const FIRST_WORDS: &[(&[&str], &str)] = &[
    (&["EXECUTE", "STATEMENT", "SET"], SETS),
    (&["BEGIN", "STATEMENT", "SET"], SETS),
    (&["STATEMENT", "SET"], SETS),
    (&["EXECUTE"], ""),
    (&["BEGIN"], SETS),
    (&["END"], SETS),
    (&["DROP"], ""),
    (&["ALTER"], ""),
    (&["EXPLAIN"], "`tidegate validate` prints what a job does; "),
    (&["DESCRIBE"], ""),
    (&["DESC"], ""),
    (&["SHOW"], ""),
    (&["USE"], ""),
    (&["SET"], "settings are fields of the document; "),
    (&["RESET"], "settings are fields of the document; "),
    (&["ADD"], ""),
    (&["REMOVE"], ""),
    (&["LOAD"], ""),
    (&["UNLOAD"], ""),
    (&["ANALYZE"], ""),
    (&["COMPILE"], ""),
    (&["CALL"], ""),
    (&["UPDATE"], ""),
    (&["DELETE"], ""),
    (&["TRUNCATE"], ""),
    (&["MERGE"], ""),
    (&["DECLARE"], ""),
    (&["COPY"], ""),
    (&["PREPARE"], ""),
    (&["GRANT"], ""),
    (&["REVOKE"], ""),
    (&["COMMIT"], ""),
    (&["ROLLBACK"], ""),
];

const SETS: &str = "write the INSERTs one after another, they run as one job; ";

/// What may stand between CREATE and what is created.
const MODIFIERS: [&str; 6] = ["TEMPORARY", "TEMP", "SYSTEM", "OR", "REPLACE", "ALTER"];

const GROUPED_WINDOW: &str = "windows that GROUP BY makes are not supported; accepted is SELECT window_start, window_end, … \
     FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end";

/// Words within a statement, and what they are.
const CONSTRUCTS: &[(&[&str], &str)] = &[
    (&["FOR", "SYSTEM_TIME", "AS", "OF"], "a table as of a time, FOR SYSTEM_TIME AS OF, is not supported yet"),
    (&["FOR", "SYSTEM", "TIME"], "a table as of a time, FOR SYSTEM_TIME AS OF, is not supported yet"),
    (&["MATCH_RECOGNIZE"], "MATCH_RECOGNIZE is not supported yet"),
    (
        &["SESSION", "("],
        "windows of SESSION are not supported yet; accepted is TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
    ),
    (
        &["HOP", "("],
        "windows of HOP are not supported yet; accepted is TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
    ),
    (
        &["CUMULATE", "("],
        "windows of CUMULATE are not supported yet; accepted is TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
    ),
    (&["TUMBLE_START", "("], GROUPED_WINDOW),
    (&["TUMBLE_END", "("], GROUPED_WINDOW),
    (&["TUMBLE_ROWTIME", "("], GROUPED_WINDOW),
    (&["TUMBLE_PROCTIME", "("], GROUPED_WINDOW),
    (&["LATERAL"], "LATERAL is not supported yet; accepted after FROM is one source, view, subquery or TUMBLE(…)"),
    (&["TABLESAMPLE"], "TABLESAMPLE is not supported yet"),
    (&["PIVOT"], "PIVOT is not supported yet"),
    (&["UNPIVOT"], "UNPIVOT is not supported yet"),
    (&["WITHIN", "GROUP"], "WITHIN GROUP is not supported yet"),
    (&["EMIT"], "EMIT is not supported yet: a window's result is put out once, when the watermark has passed its end"),
    (&["GROUPING", "SETS"], "grouping sets are not supported yet; accepted are columns"),
];

/// Refuses a statement that is known by its first words.
pub(super) fn statement(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let first = tokens.first().and_then(|token| Position::of(token.span));
    let refused = |name: &str, instead: &str| {
        Err(SqlError::new(first, format!("`{name}` is not supported yet; {instead}{STATEMENTS}")))
    };
    if word(tokens, 0).as_deref() == Some("CREATE") {
        let created = tokens.iter().enumerate().skip(1).map(|(index, _)| word(tokens, index));
        let created = created.flatten().find(|word| !MODIFIERS.contains(&word.as_str()));
        return match created.as_deref() {
            None | Some("VIEW") => Ok(()),
            Some("TABLE") => refused("CREATE TABLE", "tables are the document's `sources` and `sinks`; "),
            Some(other) if other.chars().all(|c| c.is_ascii_alphabetic()) => refused(&format!("CREATE {other}"), ""),
            Some(_) => Ok(()),
        };
    }
    match FIRST_WORDS.iter().find(|(words, _)| stands(tokens, 0, words)) {
        None => Ok(()),
        // Of one word the next is said too, where it is one.
        Some((words, instead)) => match (words, tokens.get(1).map(|next| &next.token)) {
            ([only], Some(Token::Word(next))) if !instead.starts_with("write") => {
                refused(&format!("{only} {}", next.value), instead)
            }
            _ => refused(&words.join(" "), instead),
        },
    }
}

/// What the statement has that is not supported, where the parser has failed at it.
pub(super) fn construct(tokens: &[TokenWithSpan]) -> Option<SqlError> {
    let end = tokens.iter().position(|token| token.token == Token::SemiColon).unwrap_or(tokens.len());
    let tokens = tokens.get(..end)?;
    (0..tokens.len()).find_map(|index| {
        let (_, message) = CONSTRUCTS.iter().find(|(words, _)| stands(tokens, index, words))?;
        Some(SqlError::new(Position::of(tokens.get(index)?.span), *message))
    })
}

/// Refuses a hint, which a comment would be taken for.
pub(super) fn hint(token: &TokenWithSpan) -> Result<(), SqlError> {
    match &token.token {
        Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => Err(SqlError::new(
            Position::of(token.span),
            "hints, /*+ … */, are not supported yet; settings are fields of the document",
        )),
        _ => Ok(()),
    }
}

/// Why there are no windows of this kind, if others have them.
pub(super) fn window(function: &str) -> Option<&'static str> {
    let name = function.to_uppercase();
    let found = CONSTRUCTS.iter().find(|(words, _)| matches!(words, [word, "("] if *word == name));
    found.map(|(_, message)| *message)
}

fn stands(tokens: &[TokenWithSpan], from: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(index, expected)| match *expected {
        "(" => tokens.get(from + index).is_some_and(|token| token.token == Token::LParen),
        expected => word(tokens, from + index).as_deref() == Some(expected),
    })
}

/// An unquoted word in upper case.
fn word(tokens: &[TokenWithSpan], index: usize) -> Option<String> {
    match &tokens.get(index)?.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}
