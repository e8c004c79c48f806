//! Event times of a batch, in milliseconds, whatever the column's unit.

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMillisecondArray},
    datatypes::{
        DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType,
    },
    error::ArrowError,
};

/// The column as milliseconds since 1970. Finer units are cut towards the past, before 1970 as after it, so two instants
/// of one millisecond count as equal. Seconds too far away for milliseconds are an error.
pub fn millis(column: &ArrayRef) -> Result<TimestampMillisecondArray, ArrowError> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        let found = crate::words::type_name(column.data_type());
        return Err(ArrowError::InvalidArgumentError(format!("an event time must be a timestamp, found {found}")));
    };
    Ok(match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().try_unary(|at| {
            let far = || ArrowError::ArithmeticOverflow(format!("the event time {at} s after 1970 is too far away"));
            at.checked_mul(1_000).ok_or_else(far)
        })?,
        TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().clone(),
        TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().unary(|at| at.div_euclid(1_000)),
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().unary(|at| at.div_euclid(1_000_000)),
    })
}

/// A row without an event time can't be placed: an error that says so.
pub fn require_no_nulls(times: &TimestampMillisecondArray) -> Result<(), ArrowError> {
    if times.null_count() == 0 {
        return Ok(());
    }
    Err(ArrowError::InvalidArgumentError(format!(
        "{} rows have no event time; declare the watermark column `nullable: false`, or filter such rows out",
        times.null_count()
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray};

    use super::*;

    #[test]
    fn times_are_cut_towards_the_past_on_both_sides_of_1970() {
        let columns: [(ArrayRef, &[i64]); 3] = [
            (
                Arc::new(TimestampMicrosecondArray::from(vec![-1, -1_000, -1_001, 0, 999, 1_000])),
                &[-1, -1, -2, 0, 0, 1],
            ),
            (Arc::new(TimestampNanosecondArray::from(vec![-1, 999_999, -1_000_001])), &[-1, 0, -2]),
            (Arc::new(TimestampSecondArray::from(vec![-1, 2])), &[-1_000, 2_000]),
        ];
        for (column, expected) in columns {
            assert_eq!(millis(&column).unwrap().values(), expected);
        }
        let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
        assert!(millis(&far).unwrap_err().to_string().contains("too far away"));
    }
}
