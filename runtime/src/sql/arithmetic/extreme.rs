//! `MIN` and `MAX`: DataFusion's, but floats are in one order, whatever order they come in.
//!
//! DataFusion keeps what is neither less nor greater, so a NaN would make it forget all values before: the result would
//! depend on the order of the rows, which a replay may change. Here NaN is one value above all numbers, and `-0.0` is `0.0`.

use std::{cmp::Ordering, sync::Arc};

use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion_common::Result;
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature,
    function::{AccumulatorArgs, StateFieldsArgs},
};

use super::sum::Sums;
use crate::operator::float::{canonical32, canonical64};

/// Types and partial states are those of the inner function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::sql) struct Extreme {
    inner: Arc<AggregateUDF>,
    /// How the value that stays compares with the other.
    stays: Ordering,
}

impl Extreme {
    pub(in crate::sql) fn least(inner: Arc<AggregateUDF>) -> Self {
        Self { inner, stays: Ordering::Less }
    }

    pub(in crate::sql) fn greatest(inner: Arc<AggregateUDF>) -> Self {
        Self { inner, stays: Ordering::Greater }
    }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let stays = self.stays;
        // A group begins with what every other value replaces.
        let last = if stays == Ordering::Less { f64::NAN } else { f64::NEG_INFINITY };
        let kind = args.return_field.data_type().clone();
        Ok(match kind {
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
            _ => return self.inner.create_groups_accumulator(args),
        })
    }
}
