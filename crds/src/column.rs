//! Columns of a source and the types they can have.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{nearest, text};

/// One typed column of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Column {
    /// Name of the column, and of the field in the record.
    pub name: String,
    /// Type, in SQL's words: string, boolean, int, bigint, float, double, decimal(p,s), date, timestamp(3), bytes.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Whether a record may leave the column out or set it to null.
    #[serde(default = "yes")]
    pub nullable: bool,
}

fn yes() -> bool {
    true
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    String,
    Boolean,
    Int,
    BigInt,
    Float,
    Double,
    /// Exact number of `precision` digits, `scale` of them after the point.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    /// Instant in UTC; `digits` of a second: 0, 3, 6 or 9.
    Timestamp {
        digits: u8,
    },
    Bytes,
}

const NAMES: [&str; 10] =
    ["string", "boolean", "int", "bigint", "float", "double", "decimal(12,2)", "date", "timestamp(3)", "bytes"];

impl ColumnType {
    /// Names the schema of a column's type, for [`ColumnType::PATTERN`].
    pub(crate) const FORMAT: &str = "column-type";
    /// What is accepted, for Kubernetes, as far as a pattern can say it: not how many digits a decimal can have.
    pub(crate) const PATTERN: &str = "(?i)^ *(string|boolean|int|bigint|float|double|date|bytes|timestamp([(][0369][)])?\
        |decimal[(][0-9]+(, *[0-9]+)?[)]|varchar|text|bool|integer|real|binary|numeric[(][0-9]+(, *[0-9]+)?[)]) *$";
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_lowercase();
        let (name, arguments) = match lower.split_once('(') {
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')').ok_or_else(|| unknown(text))?;
                let numbers: Result<Vec<u8>, _> = inner.split(',').map(|part| part.trim().parse()).collect();
                (name.trim().to_owned(), numbers.map_err(|_| unknown(text))?)
            }
            None => (lower.clone(), Vec::new()),
        };
        match (name.as_str(), arguments.as_slice()) {
            ("string" | "varchar" | "text", []) => Ok(Self::String),
            ("boolean" | "bool", []) => Ok(Self::Boolean),
            ("int" | "integer", []) => Ok(Self::Int),
            ("bigint", []) => Ok(Self::BigInt),
            ("float" | "real", []) => Ok(Self::Float),
            ("double", []) => Ok(Self::Double),
            ("date", []) => Ok(Self::Date),
            ("bytes" | "binary", []) => Ok(Self::Bytes),
            ("decimal" | "numeric", [precision @ 1..=38]) => Ok(Self::Decimal { precision: *precision, scale: 0 }),
            ("decimal" | "numeric", [precision @ 1..=38, scale]) if scale <= precision => {
                Ok(Self::Decimal { precision: *precision, scale: *scale })
            }
            ("decimal" | "numeric", _) => Err(format!(
                "`{text}` is not a decimal type; write decimal(precision, scale) with 1 to 38 digits, such as decimal(12,2)"
            )),
            ("timestamp", []) => Ok(Self::Timestamp { digits: 6 }),
            ("timestamp", [digits @ (0 | 3 | 6 | 9)]) => Ok(Self::Timestamp { digits: *digits }),
            ("timestamp", _) => Err(format!("`{text}` is not a timestamp type; write timestamp(0), (3), (6) or (9)")),
            _ => Err(unknown(text)),
        }
    }
}

fn unknown(text: &str) -> String {
    if text.contains('(') && !text.contains(')') {
        return format!(
            "`{text}` is not a column type; within {{ }} a comma ends a value, so put quotes around decimal(12,2)"
        );
    }
    format!("`{text}` is not a column type{}; accepted are {}", nearest(text, NAMES), NAMES.join(", "))
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::Boolean => f.write_str("boolean"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Timestamp { digits } => write!(f, "timestamp({digits})"),
            Self::Bytes => f.write_str("bytes"),
        }
    }
}

impl Serialize for ColumnType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, "a type, such as bigint, string, decimal(12,2) or timestamp(3)")
    }
}

impl JsonSchema for ColumnType {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 40, "format": ColumnType::FORMAT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_prints_as_it_is_read() {
        for text in NAMES {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_unknown_type_names_the_nearest() {
        let error = "strin".parse::<ColumnType>().unwrap_err();
        assert!(error.contains("did you mean `string`?"), "{error}");
        assert!("decimal(10".parse::<ColumnType>().unwrap_err().contains("quotes around"));
        assert!("decimal(40,2)".parse::<ColumnType>().unwrap_err().contains("1 to 38 digits"));
        assert!("timestamp(4)".parse::<ColumnType>().unwrap_err().contains("timestamp(0), (3), (6) or (9)"));
    }
}
