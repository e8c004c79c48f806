//! What the libraries of the engine say, in the words of SQL.
//!
//! DataFusion and Arrow speak to those who program with them: of `Int64` and `Utf8View`, of errors of their own kinds,
//! and of bug reports. A user has written SQL and a document, and is told in their words. Whatever can be foreseen is
//! said by the module that knows the place; this is for the rest: prefixes are taken off, types and literals are spelled
//! as SQL does, and what still has an internal word in it is not passed on.
//!
//! The guarantee: no text from here has one of [`INTERNAL`] in it.

use arrow::{
    datatypes::{DataType, IntervalUnit, TimeUnit},
    error::ArrowError,
};
use datafusion_common::DataFusionError;

mod respell;

use respell::respelled;

/// Words that no user has a use for.
pub const INTERNAL: &[&str] = &[
    "DataFusion",
    "datafusion",
    "bug report",
    "likely caused by a bug",
    "Internal error",
    "Arrow error",
    "ArrowError",
    "External error",
    "Execution error",
    "Error during planning",
    "Schema error",
    "SQL error",
    "ParserError",
    "TokenizerError",
    "parser error",
    "This feature is not implemented",
    "backtrace",
    "Utf8",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Float16",
    "Float32",
    "Float64",
    "Decimal128",
    "Decimal256",
    "Timestamp(",
    "MonthDayNano",
    "Some(",
    "TypeSignature",
    "Coercible",
    "LogicalPlan",
    "ScalarValue",
    "Ident {",
    "Span(",
    "__common_expr",
];

/// What is said where the libraries' own words would only confuse.
const UNSAID: &str = "it is not supported as it is written";

/// The cause of an error, on one line.
pub fn of(error: &DataFusionError) -> String {
    let text = match error {
        DataFusionError::ArrowError(cause, _) => return of_arrow(cause),
        DataFusionError::External(cause) => crate::error_chain(cause.as_ref()),
        DataFusionError::Context(_, cause) | DataFusionError::Diagnostic(_, cause) => return of(cause),
        DataFusionError::Shared(cause) => return of(cause),
        DataFusionError::Collection(causes) => return causes.first().map_or_else(|| UNSAID.to_owned(), of),
        DataFusionError::Internal(_) => return UNSAID.to_owned(),
        other => other.message().into_owned(),
    };
    plain(&text)
}

/// As [`of`], of an error of Arrow.
pub fn of_arrow(error: &ArrowError) -> String {
    match error {
        ArrowError::DivideByZero => "division by zero".to_owned(),
        ArrowError::ExternalError(cause) => match cause.downcast_ref::<DataFusionError>() {
            Some(cause) => of(cause),
            None => plain(&crate::error_chain(cause.as_ref())),
        },
        ArrowError::ArithmeticOverflow(text)
        | ArrowError::CastError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::ParseError(text)
        | ArrowError::SchemaError(text)
        | ArrowError::NotYetImplemented(text)
        | ArrowError::JsonError(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

/// Text of a library, on one line, respelled; or nothing of it, when that does not help.
pub fn plain(text: &str) -> String {
    let text = text.split("\n\nbacktrace:").next().unwrap_or_default();
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Prefixes stand before each other where errors were wrapped.
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.to_owned();
    }
    if let Some(said) = said_better(&text) {
        return said;
    }
    if let Some((kind, what)) = text.split_once("Array overflow on ") {
        text = format!("{what} doesn't fit {kind}");
    }
    let text = respelled(&text);
    if text.is_empty() || INTERNAL.iter().any(|word| text.contains(word)) { UNSAID.to_owned() } else { text }
}

/// What the commonest slips are told.
fn said_better(text: &str) -> Option<String> {
    if ["Regular expression did not compile", "regex parse error", "Unable to build regex", "Compiled regex exceeds"]
        .iter()
        .any(|of| text.contains(of))
    {
        let why = if text.contains("size limit") { "is too large" } else { "has brackets or signs in wrong places" };
        return Some(format!("the pattern {why}"));
    }
    if text.contains("must appear in the GROUP BY clause or must be part of an aggregate function") {
        let (_, rest) = text.split_once("column \"")?;
        let (column, _) = rest.split_once('"')?;
        let name = column.rsplit('.').next()?;
        return Some(format!(
            "`{name}` is neither in GROUP BY nor inside an aggregate; add it to GROUP BY, or aggregate it, as in MAX({name})"
        ));
    }
    if text.contains("Schema contains duplicate unqualified field name") {
        return Some(
            "two of its expressions differ in casts only, which is not supported in one SELECT; write one of the casts as a \
             column of a view below"
                .to_owned(),
        );
    }
    None
}

/// An expression, or names made of one, in SQL's words: types and literals respelled.
pub fn shown(text: &str) -> String {
    let text = respelled(text);
    if INTERNAL.iter().any(|word| text.contains(word)) { "…".to_owned() } else { text }
}

const PREFIXES: &[&str] = &[
    "Error during planning: ",
    "Schema error: ",
    "This feature is not implemented: ",
    "Execution error: ",
    "External error: ",
    "Arrow error: ",
    "SQL error: ",
    "sql parser error: ",
    "External: ",
    "Cast error: ",
    "Compute error: ",
    "Parser error: ",
    "Arithmetic overflow: ",
    "Invalid argument error: ",
    "Not yet implemented: ",
    "Json error: ",
    "Invalid or Unsupported Configuration: ",
];

/// A type in SQL's words.
pub fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt8 => "tinyint unsigned".to_owned(),
        DataType::UInt16 => "smallint unsigned".to_owned(),
        DataType::UInt32 => "int unsigned".to_owned(),
        DataType::UInt64 => "bigint unsigned".to_owned(),
        DataType::Float16 | DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => format!("decimal({digits},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytes".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => "timestamp(0)".to_owned(),
            TimeUnit::Millisecond => "timestamp(3)".to_owned(),
            TimeUnit::Microsecond => "timestamp(6)".to_owned(),
            TimeUnit::Nanosecond => "timestamp(9)".to_owned(),
        },
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano)
        | DataType::Duration(_) => "interval".to_owned(),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(..) => "array".to_owned(),
        DataType::Struct(_) | DataType::Union(..) => "row".to_owned(),
        DataType::Map(..) => "map".to_owned(),
        DataType::Dictionary(_, values) => type_name(values),
        DataType::RunEndEncoded(_, values) => type_name(values.data_type()),
    }
}

#[cfg(test)]
mod tests {
    use datafusion_common::{exec_datafusion_err, internal_datafusion_err, plan_datafusion_err};

    use super::*;

    #[test]
    fn prefixes_types_and_bug_reports_are_not_passed_on() {
        let arrow = |error: ArrowError| DataFusionError::from(error);
        for (error, said) in [
            (arrow(ArrowError::DivideByZero), "division by zero"),
            (
                arrow(ArrowError::ComputeError("Int32Array overflow on abs(-2147483648)".to_owned())),
                "abs(-2147483648) doesn't fit int",
            ),
            (plan_datafusion_err!("no\n such  thing"), "no such thing"),
            (
                exec_datafusion_err!("Cast error: Cannot cast string 'abc' to value of Int32 type"),
                "Cannot cast string 'abc' to value of int type",
            ),
            (internal_datafusion_err!("a hole"), UNSAID),
            (plan_datafusion_err!("a LogicalPlan of Some(1)"), UNSAID),
            (
                plan_datafusion_err!(
                    "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \
                     \"clicks.user_id\" must appear in the GROUP BY clause or must be part of an aggregate function, \
                     currently only \"count(Int64(1))\" appears in the SELECT clause satisfies this requirement"
                ),
                "`user_id` is neither in GROUP BY nor inside an aggregate; add it to GROUP BY, or aggregate it, as in \
                 MAX(user_id)",
            ),
            (
                plan_datafusion_err!("cannot compare Timestamp(ms, \"UTC\") with Decimal128(12, 2)"),
                "cannot compare timestamp(3) with decimal(12,2)",
            ),
            (plan_datafusion_err!("t.n * Int64(2) and Utf8(\"x\") = s"), "t.n * 2 and 'x' = s"),
            (plan_datafusion_err!("List(Field {{ name: \"item\", data_type: Int64 }})"), "array"),
            (plan_datafusion_err!("Decimal128(Some(-150),3,2) + Boolean(NULL)"), "-1.50 + NULL"),
            (DataFusionError::External(Box::new(std::fmt::Error)), "an error occurred when formatting an argument"),
            (exec_datafusion_err!("x").context("y"), "x"),
        ] {
            assert_eq!(of(&error), said, "{error:?}");
        }
    }
}
