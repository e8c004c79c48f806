//! `to_unixtime`: the second that an instant is in, before 1970 too.

use std::sync::Arc;

use arrow::{
    array::AsArray,
    compute::cast,
    datatypes::{DataType, Int64Type},
};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs};

use super::arithmetic::per_second;

/// Seconds since 1970; `None` where the argument is no instant.
pub(super) fn seconds(args: &ScalarFunctionArgs) -> Result<Option<ColumnarValue>> {
    let [times] = args.args.as_slice() else { return Ok(None) };
    let DataType::Timestamp(unit, _) = times.data_type() else { return Ok(None) };
    let is_scalar = matches!(times, ColumnarValue::Scalar(_));
    let times = times.to_array(if is_scalar { 1 } else { args.number_rows })?;
    let parts = cast(&times, &DataType::Int64)?;
    let seconds = parts.as_primitive::<Int64Type>().unary::<_, Int64Type>(|parts| parts.div_euclid(per_second(unit)));
    Ok(Some(if is_scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&seconds, 0)?)
    } else {
        ColumnarValue::Array(Arc::new(seconds))
    }))
}
