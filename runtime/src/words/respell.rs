//! Types and literals within a text.

use arrow::{
    array::types::{Decimal128Type, DecimalType},
    datatypes::DECIMAL128_MAX_PRECISION,
};

/// Names of types that are followed by nothing, by their own parameters, or, in an expression, by a value.
const TYPES: &[(&str, &str)] = &[
    ("Null", "null"),
    ("Boolean", "boolean"),
    ("Int8", "tinyint"),
    ("Int16", "smallint"),
    ("Int32", "int"),
    ("Int64", "bigint"),
    ("UInt8", "tinyint unsigned"),
    ("UInt16", "smallint unsigned"),
    ("UInt32", "int unsigned"),
    ("UInt64", "bigint unsigned"),
    ("Float16", "float"),
    ("Float32", "float"),
    ("Float64", "double"),
    ("Decimal32", "decimal"),
    ("Decimal64", "decimal"),
    ("Decimal128", "decimal"),
    ("Decimal256", "decimal"),
    ("Utf8", "string"),
    ("LargeUtf8", "string"),
    ("Utf8View", "string"),
    ("Binary", "bytes"),
    ("LargeBinary", "bytes"),
    ("BinaryView", "bytes"),
    ("FixedSizeBinary", "bytes"),
    ("Date32", "date"),
    ("Date64", "date"),
    ("Timestamp", "timestamp"),
    ("Interval", "interval"),
    ("Duration", "interval"),
    ("List", "array"),
    ("Struct", "row"),
];

/// The text with types and literals as SQL spells them.
pub(super) fn respelled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if !is_word(first) {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match TYPES.iter().find(|(name, _)| *name == word) {
            None => {
                out.push_str(word);
                rest = after;
            }
            Some((_, sql)) => match inside(after) {
                None => {
                    out.push_str(sql);
                    rest = after;
                }
                Some((inside, after)) => {
                    out.push_str(&value_or_type(word, sql, inside));
                    rest = after;
                }
            },
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What stands in the parentheses that the text begins with, and what comes behind.
fn inside(text: &str) -> Option<(&str, &str)> {
    let body = text.strip_prefix('(')?;
    let (mut depth, mut quoted) = (0, false);
    for (at, c) in body.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' | '{' | '[' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => return Some((body.get(..at)?, body.get(at + 1..)?)),
            ')' | '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
    }
    None
}

fn value_or_type(word: &str, sql: &str, inside: &str) -> String {
    match word {
        _ if inside == "NULL" || inside == "None" => "NULL".to_owned(),
        "Utf8" | "LargeUtf8" | "Utf8View" => format!("'{}'", inside.trim_matches('"')),
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => {
            decimal(inside).unwrap_or_else(|| format!("decimal({})", inside.replace(' ', "")))
        }
        "Timestamp" => {
            let unit = inside.split(',').next().unwrap_or_default().trim();
            let digits = match unit {
                "s" | "Second" => "timestamp(0)",
                "ms" | "Millisecond" => "timestamp(3)",
                "µs" | "Microsecond" => "timestamp(6)",
                _ => "timestamp(9)",
            };
            digits.to_owned()
        }
        "Interval" | "Duration" | "List" | "Struct" | "FixedSizeBinary" => sql.to_owned(),
        _ => inside.trim_matches('"').to_owned(),
    }
}

/// `Some(150),3,2` as `1.50`.
fn decimal(inside: &str) -> Option<String> {
    let (digits, parameters) = inside.strip_prefix("Some(")?.split_once("),")?;
    let (_, scale) = parameters.split_once(',')?;
    let (value, scale): (i128, i8) = (digits.parse().ok()?, scale.trim().parse().ok()?);
    Some(Decimal128Type::format_decimal(value, DECIMAL128_MAX_PRECISION, scale))
}
