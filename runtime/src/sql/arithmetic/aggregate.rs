//! An aggregate of DataFusion's, of which the totals of groups are ours for some types.

use std::{cmp::Ordering, sync::Arc};

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature,
    function::{AccumulatorArgs, StateFieldsArgs},
};

use super::{average, extreme, sum};

/// Types and partial states are those of the inner function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::sql) struct Aggregate {
    inner: Arc<AggregateUDF>,
    totals: Totalled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Totalled {
    Sum,
    Average,
    /// How the value that stays compares with the other.
    Extreme(Ordering),
}

impl Aggregate {
    pub(in crate::sql) fn sum(inner: Arc<AggregateUDF>) -> Self {
        Self { inner, totals: Totalled::Sum }
    }

    pub(in crate::sql) fn average(inner: Arc<AggregateUDF>) -> Self {
        Self { inner, totals: Totalled::Average }
    }

    pub(in crate::sql) fn least(inner: Arc<AggregateUDF>) -> Self {
        Self { inner, totals: Totalled::Extreme(Ordering::Less) }
    }

    pub(in crate::sql) fn greatest(inner: Arc<AggregateUDF>) -> Self {
        Self { inner, totals: Totalled::Extreme(Ordering::Greater) }
    }
}

impl AggregateUDFImpl for Aggregate {
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
        let ours = match self.totals {
            Totalled::Sum => sum::totals(&args),
            Totalled::Average => average::totals(&self.inner, &args)?,
            Totalled::Extreme(stays) => extreme::totals(stays, &args),
        };
        ours.map_or_else(|| self.inner.create_groups_accumulator(args), Ok)
    }
}
