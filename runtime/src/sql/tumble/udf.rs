//! The columns of a window as functions of a timestamp and the window's length.

use std::{any::Any, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, PrimitiveArray, TimestampMillisecondArray},
    datatypes::{
        DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType,
    },
};
use datafusion_common::{Result, ScalarValue, cast::as_primitive_array, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit};

/// Which instant of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sql) enum Edge {
    Start,
    End,
    Time,
}

impl Edge {
    pub(in crate::sql) const ALL: [Self; 3] = [Self::Start, Self::End, Self::Time];

    /// Name of the column that `TUMBLE` adds.
    pub(in crate::sql) const fn column(self) -> &'static str {
        match self {
            Self::Start => "window_start",
            Self::End => "window_end",
            Self::Time => "window_time",
        }
    }

    const fn function(self) -> &'static str {
        match self {
            Self::Start => "tumble_start",
            Self::End => "tumble_end",
            Self::Time => "tumble_time",
        }
    }

    /// Saturates at the ends of time.
    fn of(self, instant_ms: i64, size_ms: i64) -> i64 {
        let start = instant_ms.saturating_sub(instant_ms.rem_euclid(size_ms));
        match self {
            Self::Start => start,
            Self::End => start.saturating_add(size_ms),
            Self::Time => start.saturating_add(size_ms).saturating_sub(1),
        }
    }
}

/// The expression of one edge of the window of `time`; `size_ms` is above 0.
pub(in crate::sql) fn tumble(edge: Edge, time: Expr, size_ms: i64) -> Expr {
    let function = Tumble { edge, signature: Signature::any(2, Volatility::Immutable) };
    ScalarUDF::new_from_impl(function).call(vec![time, lit(size_ms)])
}

/// Edge, time and length, where the expression was made by [`tumble`].
pub(in crate::sql) fn edge_of(expr: &Expr) -> Option<(Edge, &Expr, i64)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let function: &dyn Any = call.func.inner().as_ref();
    let function = function.downcast_ref::<Tumble>()?;
    match call.args.as_slice() {
        [time, Expr::Literal(ScalarValue::Int64(Some(size)), _)] => Some((function.edge, time, *size)),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Tumble {
    edge: Edge,
    signature: Signature,
}

impl ScalarUDFImpl for Tumble {
    fn name(&self) -> &str {
        self.edge.function()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, ColumnarValue::Scalar(ScalarValue::Int64(Some(size_ms)))] = args.args.as_slice() else {
            return plan_err!("{} takes a timestamp and a length", self.name());
        };
        if *size_ms <= 0 {
            return plan_err!("{} takes a length above 0, found {size_ms}", self.name());
        }
        let instants = time.to_array(args.number_rows)?;
        let edges = milliseconds(&instants)?.unary::<_, TimestampMillisecondType>(|at| self.edge.of(at, *size_ms));
        let edges: ArrayRef = Arc::new(edges.with_timezone("UTC"));
        match time {
            ColumnarValue::Array(_) => Ok(ColumnarValue::Array(edges)),
            ColumnarValue::Scalar(_) if edges.is_empty() => {
                Ok(ColumnarValue::Scalar(ScalarValue::TimestampMillisecond(None, Some("UTC".into()))))
            }
            ColumnarValue::Scalar(_) => ScalarValue::try_from_array(&edges, 0).map(ColumnarValue::Scalar),
        }
    }
}

/// Rounded down, also before 1970, where a cast rounds towards it.
fn milliseconds(instants: &ArrayRef) -> Result<TimestampMillisecondArray> {
    let DataType::Timestamp(unit, _) = instants.data_type() else {
        return exec_err!("a window's time must be a timestamp, found {}", instants.data_type());
    };
    Ok(match unit {
        TimeUnit::Second => {
            let seconds: &PrimitiveArray<TimestampSecondType> = as_primitive_array(instants)?;
            seconds.unary(|at| at.saturating_mul(1_000))
        }
        TimeUnit::Millisecond => as_primitive_array::<TimestampMillisecondType>(instants)?.clone(),
        TimeUnit::Microsecond => {
            as_primitive_array::<TimestampMicrosecondType>(instants)?.unary(|at| at.div_euclid(1_000))
        }
        TimeUnit::Nanosecond => {
            as_primitive_array::<TimestampNanosecondType>(instants)?.unary(|at| at.div_euclid(1_000_000))
        }
    })
}
