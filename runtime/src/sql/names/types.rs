//! The types that may be written: those that columns have, by the names that Flink gives them and by usual others.
//!
//! The planner knows more, and takes some for others: `VARCHAR(3)` would keep longer texts, `DECIMAL` would have 38 digits.

use datafusion_sql::sqlparser::ast::{DataType, ExactNumberInfo, TimezoneInfo};

use crate::sql::error::{Position, SqlError};

const ACCEPTED: &str = "BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s) with p up to 38 and s from 0 to p, STRING or VARCHAR without a length, DATE, \
                        TIMESTAMP(0), TIMESTAMP(3), TIMESTAMP(6), TIMESTAMP(9) and BYTES";

pub(super) fn check(written: &DataType, near: Position) -> Result<(), SqlError> {
    if is_accepted(written) {
        return Ok(());
    }
    Err(SqlError::new(near, format!("found the type {written}; accepted are {ACCEPTED}")))
}

/// Whether it is an instant in nanoseconds.
pub(super) fn is_of_nanoseconds(written: &DataType) -> bool {
    matches!(written, DataType::Timestamp(None | Some(9), _))
}

/// Gives a type the name that the planner knows.
pub(super) fn rename(written: &mut DataType) {
    if matches!(written, DataType::Bytes(None)) {
        *written = DataType::Bytea;
    }
}

fn is_accepted(written: &DataType) -> bool {
    use DataType as T;
    match written {
        T::Boolean
        | T::Bool
        | T::Int(None)
        | T::Integer(None)
        | T::Int4(None)
        | T::BigInt(None)
        | T::Int8(None)
        | T::Float(ExactNumberInfo::None)
        | T::Real
        | T::Float4
        | T::Double(ExactNumberInfo::None)
        | T::DoublePrecision
        | T::Float8
        | T::Varchar(None)
        | T::String(None)
        | T::Text
        | T::Date
        | T::Bytes(None)
        | T::Bytea => true,
        T::Decimal(digits) | T::Numeric(digits) => match *digits {
            ExactNumberInfo::None => false,
            ExactNumberInfo::Precision(precision) => (1..=38).contains(&precision),
            ExactNumberInfo::PrecisionAndScale(precision, scale) => {
                (1..=38).contains(&precision) && (0..=precision as i64).contains(&scale)
            }
        },
        T::Timestamp(digits, zone) => {
            matches!(digits, None | Some(0 | 3 | 6 | 9))
                && matches!(zone, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
        }
        _ => false,
    }
}
