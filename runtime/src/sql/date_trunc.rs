//! `date_trunc`: DataFusion's, of instants of all years.
//!
//! Its own reckons in nanoseconds, which are of the years 1677 to 2262. The calendar is the same every 400 years, which are
//! whole weeks, too: so an instant is moved by as many of these as it takes, cut, and moved back.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, PrimitiveArray},
    compute::try_binary,
    datatypes::{
        ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType,
    },
};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

/// Seconds of 400 years.
const PERIOD: i64 = 146_097 * 86_400;
/// 1800-01-01: all of the period that begins here has nanoseconds.
const BEGIN: i64 = -5_364_662_400;

/// `inner`, of instants of all years.
pub(super) fn of_all_years(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let (times, is_scalar): (ArrayRef, bool) = match args.args.get(1) {
        Some(ColumnarValue::Array(times)) => (Arc::clone(times), false),
        Some(ColumnarValue::Scalar(time)) => (time.to_array()?, true),
        None => return inner.invoke_with_args(args),
    };
    let cut = match times.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => moved(inner, times.as_primitive::<TimestampSecondType>(), 1, args),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            moved(inner, times.as_primitive::<TimestampMillisecondType>(), 1_000, args)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            moved(inner, times.as_primitive::<TimestampMicrosecondType>(), 1_000_000, args)
        }
        _ => inner.invoke_with_args(args),
    }?;
    match cut {
        ColumnarValue::Array(cut) if is_scalar => ScalarValue::try_from_array(&cut, 0).map(ColumnarValue::Scalar),
        cut => Ok(cut),
    }
}

/// Of instants with so many parts a second.
fn moved<T: ArrowTimestampType>(
    inner: &ScalarUDF,
    times: &PrimitiveArray<T>,
    per_second: i64,
    mut args: ScalarFunctionArgs,
) -> Result<ColumnarValue> {
    let (begin, period) = (BEGIN * per_second, PERIOD * per_second);
    // What can't be moved, at the edge of all time, is left to the inner function's error.
    let moved_by = |at: i64| {
        let at = i128::from(at) - i128::from(begin);
        i64::try_from(at - at.rem_euclid(i128::from(period))).unwrap_or(0)
    };
    let moves = times.unary::<_, T>(moved_by);
    if moves.values().iter().all(|by| *by == 0) {
        return inner.invoke_with_args(args);
    }
    let kind = times.data_type().clone();
    let moved = times.unary::<_, T>(|at| at - moved_by(at)).with_data_type(kind.clone());
    if let Some(argument) = args.args.get_mut(1) {
        *argument = ColumnarValue::Array(Arc::new(moved));
    }
    args.number_rows = times.len();
    let cut = inner.invoke_with_args(args)?.into_array(times.len())?;
    let back: PrimitiveArray<T> = try_binary(cut.as_primitive::<T>(), &moves, ArrowNativeTypeOp::add_checked)?;
    Ok(ColumnarValue::Array(Arc::new(back.with_data_type(kind))))
}
