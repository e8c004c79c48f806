//! Types of columns, in the words of both dialects.

/// A type that a source's column can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Int,
    BigInt,
    Float,
    Double,
    /// Digits, and how many of them are after the point.
    Decimal(u8, u8),
    Text,
    Date,
    /// Digits of a second.
    Instant(u8),
    Bytes,
}

/// Types whose values are compared alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Boolean,
    Whole,
    Exact,
    Real,
    Text,
    Date,
    Instant,
    Bytes,
}

impl Kind {
    pub fn class(self) -> Class {
        match self {
            Self::Boolean => Class::Boolean,
            Self::Int | Self::BigInt => Class::Whole,
            Self::Decimal(..) => Class::Exact,
            Self::Float | Self::Double => Class::Real,
            Self::Text => Class::Text,
            Self::Date => Class::Date,
            Self::Instant(_) => Class::Instant,
            Self::Bytes => Class::Bytes,
        }
    }

    /// As the document has it.
    pub fn ours(self) -> String {
        match self {
            Self::Boolean => "boolean".to_owned(),
            Self::Int => "int".to_owned(),
            Self::BigInt => "bigint".to_owned(),
            Self::Float => "float".to_owned(),
            Self::Double => "double".to_owned(),
            Self::Decimal(digits, scale) => format!("decimal({digits},{scale})"),
            Self::Text => "string".to_owned(),
            Self::Date => "date".to_owned(),
            Self::Instant(digits) => format!("timestamp({digits})"),
            Self::Bytes => "bytes".to_owned(),
        }
    }

    /// As DuckDB has it. Its instants have no zone, and ours are all in UTC.
    pub fn theirs(self) -> String {
        match self {
            Self::Boolean => "BOOLEAN".to_owned(),
            Self::Int => "INTEGER".to_owned(),
            Self::BigInt => "BIGINT".to_owned(),
            Self::Float => "FLOAT".to_owned(),
            Self::Double => "DOUBLE".to_owned(),
            Self::Decimal(digits, scale) => format!("DECIMAL({digits},{scale})"),
            Self::Text => "VARCHAR".to_owned(),
            Self::Date => "DATE".to_owned(),
            Self::Instant(9) => "TIMESTAMP_NS".to_owned(),
            Self::Instant(_) => "TIMESTAMP".to_owned(),
            Self::Bytes => "BLOB".to_owned(),
        }
    }

    /// How the oracle compares its values.
    pub fn compared(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int | Self::BigInt => "whole",
            Self::Float => "float",
            Self::Double => "double",
            Self::Decimal(..) => "exact",
            Self::Text => "text",
            Self::Date => "date",
            Self::Instant(9) => "nanos",
            Self::Instant(_) => "instant",
            Self::Bytes => "bytes",
        }
    }

    /// The value that `text` spells, in DuckDB's words: see [`super::data::Value::spelled`].
    pub fn read(self, text: &str) -> String {
        match self {
            Self::Bytes => format!("unhex({text})"),
            Self::Instant(9) => format!("make_timestamp_ns(CAST({text} AS BIGINT))"),
            Self::Instant(_) => format!("make_timestamp(CAST(CAST({text} AS HUGEINT) // 1000 AS BIGINT))"),
            kind => format!("CAST({text} AS {})", kind.theirs()),
        }
    }
}

/// A name as both dialects take it.
pub fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(is_plain) && !RESERVED.contains(&name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Of the names that cases use, those that mean something to a parser.
const RESERVED: [&str; 2] = ["select", "order"];

/// Text as both dialects take it.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
