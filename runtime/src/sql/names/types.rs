//! The types that may be written: those that columns have, by the names that Flink gives them and by usual others.
//!
//! The planner knows more, and takes some for others: `VARCHAR(3)` would keep longer texts, `DECIMAL` would have 38 digits.

use datafusion_sql::sqlparser::ast::{DataType, ExactNumberInfo};

use crate::sql::error::{Position, SqlError};

const ACCEPTED: &str = "BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), STRING or VARCHAR without a length, DATE, \
                        TIMESTAMP(0), TIMESTAMP(3), TIMESTAMP(6), TIMESTAMP(9) and BYTEA";

pub(super) fn check(written: &DataType, near: Position) -> Result<(), SqlError> {
    if is_accepted(written) {
        return Ok(());
    }
    Err(SqlError::new(near, format!("found the type {written}; accepted are {ACCEPTED}")))
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
        | T::Bytea => true,
        T::Decimal(digits) | T::Numeric(digits) => *digits != ExactNumberInfo::None,
        T::Timestamp(digits, _) => matches!(digits, None | Some(0 | 3 | 6 | 9)),
        _ => false,
    }
}
