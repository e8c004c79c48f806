//! `extract` and `date_part` of a difference of instants: its seconds, and no other part.
//!
//! DataFusion counts the parts in 32 bits, so that they wrap, are NULL or lose their digits, and `hour` is all hours, not those
//! of the day. A difference as a number (`CAST(b - a AS BIGINT)`) says more, so there is `epoch` only, computed here.

use std::sync::Arc;

use arrow::{
    array::AsArray,
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type},
};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};
use thiserror::Error;

use super::arithmetic::per_second;

/// A part that a difference or an interval does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "a part of an interval or of a difference of instants; accepted are extract(epoch FROM …), its seconds with their fraction, \
     and CAST(b - a AS BIGINT), which counts in the unit of the instants"
)]
pub(super) struct NoPart;

impl NoPart {
    /// The part that the error is about.
    pub(super) fn of(error: &DataFusionError) -> Option<&Self> {
        match error.find_root() {
            DataFusionError::External(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

/// Refuses another part than `epoch` of an interval or a duration.
pub(super) fn check(args: &ReturnFieldArgs<'_>) -> Result<()> {
    let (Some(Some(part)), Some(field)) = (args.scalar_arguments.first(), args.arg_fields.get(1)) else {
        return Ok(());
    };
    let is_epoch = part.try_as_str().flatten().is_some_and(|part| {
        let part = part.trim_matches(['\'', '"']);
        part.eq_ignore_ascii_case("epoch")
    });
    match field.data_type() {
        DataType::Duration(_) | DataType::Interval(_) if !is_epoch => Err(DataFusionError::External(Box::new(NoPart))),
        _ => Ok(()),
    }
}

/// The seconds of a duration; `None` where the argument is none.
pub(super) fn seconds(args: &ScalarFunctionArgs) -> Result<Option<ColumnarValue>> {
    let [_, durations] = args.args.as_slice() else { return Ok(None) };
    let DataType::Duration(unit) = durations.data_type() else { return Ok(None) };
    let is_scalar = matches!(durations, ColumnarValue::Scalar(_));
    let durations = durations.to_array(if is_scalar { 1 } else { args.number_rows })?;
    let counts = cast(&durations, &DataType::Int64)?;
    let parts = per_second(unit) as f64;
    let seconds = counts.as_primitive::<Int64Type>().unary::<_, Float64Type>(|count| count as f64 / parts);
    Ok(Some(if is_scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&seconds, 0)?)
    } else {
        ColumnarValue::Array(Arc::new(seconds))
    }))
}
