//! Instants with fewer digits: Arrow's cast cuts towards 1970, and a window's edge is at or before its rows.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray},
    datatypes::{
        ArrowPrimitiveType, DataType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
        FieldRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    },
};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// How many of the finer unit are one of the coarser, where a cast would cut.
pub(super) fn parts(from: &DataType, to: &DataType) -> Option<i64> {
    let ((DataType::Timestamp(from, _), DataType::Timestamp(to, _))
    | (DataType::Duration(from), DataType::Duration(to))) = (from, to)
    else {
        return None;
    };
    let parts = per_second(*from) / per_second(*to);
    (parts > 1).then_some(parts)
}

pub(in crate::sql) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Where the next whole number of parts is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Towards {
    Past,
    Future,
}

/// The instant or duration next to `time` that is a whole number of `parts`; `time` itself if it is one.
pub(super) fn cut(time: Expr, parts: i64, towards: Towards) -> Expr {
    ScalarUDF::new_from_impl(Cut { parts, towards, signature: Signature::any(1, Volatility::Immutable) })
        .call(vec![time])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cut {
    /// Above 1.
    parts: i64,
    towards: Towards,
    signature: Signature,
}

impl Cut {
    fn of<T: ArrowPrimitiveType<Native = i64>>(&self, times: &PrimitiveArray<T>) -> ArrayRef {
        let cut = times.unary::<_, T>(|at| match self.towards {
            Towards::Past => at.saturating_sub(at.rem_euclid(self.parts)),
            Towards::Future => at.saturating_add((-at.rem_euclid(self.parts)).rem_euclid(self.parts)),
        });
        Arc::new(cut.with_data_type(times.data_type().clone()))
    }
}

impl ScalarUDFImpl for Cut {
    fn name(&self) -> &'static str {
        "cut"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [only] => Ok(only.clone()),
            _ => plan_err!("cut takes an instant"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.arg_fields {
            [only] => Ok(Arc::clone(only)),
            _ => plan_err!("cut takes an instant"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [times] = args.args.as_slice() else { return plan_err!("cut takes an instant") };
        let is_scalar = matches!(times, ColumnarValue::Scalar(_));
        let times = times.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let cut = match times.data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => self.of(times.as_primitive::<TimestampMillisecondType>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => self.of(times.as_primitive::<TimestampMicrosecondType>()),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => self.of(times.as_primitive::<TimestampNanosecondType>()),
            DataType::Duration(TimeUnit::Millisecond) => self.of(times.as_primitive::<DurationMillisecondType>()),
            DataType::Duration(TimeUnit::Microsecond) => self.of(times.as_primitive::<DurationMicrosecondType>()),
            DataType::Duration(TimeUnit::Nanosecond) => self.of(times.as_primitive::<DurationNanosecondType>()),
            _ => return plan_err!("cut takes an instant"),
        };
        if is_scalar {
            ScalarValue::try_from_array(&cut, 0).map(ColumnarValue::Scalar)
        } else {
            Ok(ColumnarValue::Array(cut))
        }
    }
}
