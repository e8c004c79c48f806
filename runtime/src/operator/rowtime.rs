//! Event times of a batch, in milliseconds, whatever the column's unit.

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMillisecondArray},
    compute::cast,
    datatypes::{DataType, TimeUnit, TimestampMillisecondType},
    error::ArrowError,
};

/// The column as milliseconds since 1970. Finer units are cut, so two instants of one millisecond count as equal.
pub fn millis(column: &ArrayRef) -> Result<TimestampMillisecondArray, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => Ok(column.as_primitive::<TimestampMillisecondType>().clone()),
        _ => {
            let cast = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
            Ok(cast.as_primitive::<TimestampMillisecondType>().clone())
        }
    }
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
