//! `MIN` and `MAX`: DataFusion's, but floats are in one order, whatever order they come in.
//!
//! DataFusion keeps what is neither less nor greater, so a NaN would make it forget all values before: the result would
//! depend on the order of the rows, which a replay may change. Here NaN is one value above all numbers, and `-0.0` is `0.0`.

use std::cmp::Ordering;

use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_expr::{GroupsAccumulator, function::AccumulatorArgs};

use super::sum::Sums;
use crate::operator::float::{canonical32, canonical64};

/// The least or greatest float of each group, by how the value that stays compares with the other; none for other types.
pub(super) fn totals(stays: Ordering, args: &AccumulatorArgs<'_>) -> Option<Box<dyn GroupsAccumulator>> {
    // A group begins with what every other value replaces.
    let last = if stays == Ordering::Less { f64::NAN } else { f64::NEG_INFINITY };
    let kind = args.return_field.data_type().clone();
    Some(match kind {
        DataType::Float32 => {
            Box::new(Sums::<Float32Type, _>::beginning_with(last as f32, kind, move |known, value| {
                let value = canonical32(value);
                Some(if value.total_cmp(&known) == stays { value } else { known })
            }))
        }
        DataType::Float64 => Box::new(Sums::<Float64Type, _>::beginning_with(last, kind, move |known, value| {
            let value = canonical64(value);
            Some(if value.total_cmp(&known) == stays { value } else { known })
        })),
        _ => return None,
    })
}
