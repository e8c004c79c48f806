//! Numbers as they are written.

use datafusion_sql::sqlparser::ast::{CastKind, DataType, ExactNumberInfo, Expr, Value};

use crate::sql::error::{Position, SqlError};

/// Digits of a decimal.
const MOST_DIGITS: usize = 38;

/// What stands for a number with an exponent: it is a double, as in the standard and in Flink. `None` for any other, which
/// is exact.
pub(super) fn approximate(written: &str, at: Position) -> Result<Option<Expr>, SqlError> {
    if !written.contains(['e', 'E']) {
        let digits = written.trim_start_matches('0').bytes().filter(u8::is_ascii_digit).count();
        return if digits <= MOST_DIGITS { Ok(None) } else { Err(SqlError::new(at, too_long(written, digits))) };
    }
    match written.parse() {
        Ok(number) if f64::is_finite(number) => Ok(Some(Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(Expr::value(Value::SingleQuotedString(written.to_owned()))),
            data_type: DataType::Double(ExactNumberInfo::None),
            array: false,
            format: None,
        })),
        _ => Err(SqlError::new(at, format!("found the number `{written}`; accepted is a double, less than 1.8e308"))),
    }
}

fn too_long(written: &str, digits: usize) -> String {
    let begin: String = written.chars().take(20).collect();
    format!("found a number of {digits} digits, `{begin}…`; accepted are {MOST_DIGITS}, or a double such as 1.5e40")
}
