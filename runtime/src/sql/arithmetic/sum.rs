//! `SUM`: DataFusion's, but for whole numbers, decimals and differences of instants it says when a total has no room.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray},
    datatypes::{
        DataType, Decimal128Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
        DurationSecondType, Int64Type, TimeUnit, UInt64Type,
    },
};
use datafusion_common::{DataFusionError, Result, not_impl_err};
use datafusion_expr::{EmitTo, GroupsAccumulator, function::AccumulatorArgs};

use super::{Overflow, operators::value, totals::Totals};

/// The totals of whole numbers, decimals and durations; none for other types.
pub(super) fn totals(args: &AccumulatorArgs<'_>) -> Option<Box<dyn GroupsAccumulator>> {
    let kind = args.return_field.data_type().clone();
    Some(match kind {
        DataType::Int64 => Box::new(Sums::<Int64Type, _>::new(kind, i64::checked_add)),
        DataType::UInt64 => Box::new(Sums::<UInt64Type, _>::new(kind, u64::checked_add)),
        DataType::Decimal128(digits, _) => {
            let limit = 10_u128.pow(u32::from(digits));
            let add = move |sum: i128, value| sum.checked_add(value).filter(|sum| sum.unsigned_abs() < limit);
            Box::new(Sums::<Decimal128Type, _>::new(kind, add))
        }
        DataType::Duration(unit) => match unit {
            TimeUnit::Second => Box::new(Sums::<DurationSecondType, _>::new(kind, i64::checked_add)),
            TimeUnit::Millisecond => Box::new(Sums::<DurationMillisecondType, _>::new(kind, i64::checked_add)),
            TimeUnit::Microsecond => Box::new(Sums::<DurationMicrosecondType, _>::new(kind, i64::checked_add)),
            TimeUnit::Nanosecond => Box::new(Sums::<DurationNanosecondType, _>::new(kind, i64::checked_add)),
        },
        _ => return None,
    })
}

/// A total for every group, by any way to add: see [`Totals::add`].
#[derive(Debug)]
pub(super) struct Sums<T: ArrowPrimitiveType, F> {
    totals: Totals<T>,
    kind: DataType,
    add: F,
}

impl<T: ArrowPrimitiveType, F> Sums<T, F> {
    fn new(kind: DataType, add: F) -> Self {
        Self { totals: Totals::default(), kind, add }
    }

    pub(super) fn beginning_with(first: T::Native, kind: DataType, add: F) -> Self {
        Self { totals: Totals::beginning_with(first), kind, add }
    }
}

impl<T, F> GroupsAccumulator for Sums<T, F>
where
    T: ArrowPrimitiveType + Send,
    T::Native: ArrowNativeTypeOp,
    F: Fn(T::Native, T::Native) -> Option<T::Native> + Send + 'static,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let [values] = values else { return wrong_states() };
        let added = self.totals.add(values.as_primitive::<T>(), groups, filter, total, &self.add);
        added.map_err(|row| {
            let sum = groups.get(row).map(|group| value(&self.totals.of(*group, &self.kind))).unwrap_or_default();
            Overflow::new(row, format!("{sum} + {}", value(&values.slice(row, 1))), &self.kind).into()
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(states, groups, None, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.totals.take(emit, &self.kind)))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn convert_to_state(&self, _: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        not_impl_err!("rows as partial states")
    }

    fn size(&self) -> usize {
        self.totals.size()
    }
}

pub(super) fn wrong_states<T>() -> Result<T> {
    Err(DataFusionError::Execution("the columns of an aggregate's state are not those it has".to_owned()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int64Array};

    use super::*;

    fn sums() -> Sums<Int64Type, fn(i64, i64) -> Option<i64>> {
        Sums::new(DataType::Int64, i64::checked_add)
    }

    fn add(sums: &mut impl GroupsAccumulator, values: Int64Array, groups: &[usize], total: usize) -> Result<()> {
        sums.update_batch(&[Arc::new(values)], groups, None, total)
    }

    #[test]
    fn a_group_without_a_value_is_null_whenever_the_first_null_comes() {
        let mut sums = sums();
        add(&mut sums, Int64Array::from(vec![1, 2]), &[0, 1], 2).unwrap();
        add(&mut sums, Int64Array::from(vec![None, Some(5), None]), &[2, 1, 0], 3).unwrap();
        add(&mut sums, Int64Array::from(vec![7]), &[3], 4).unwrap();
        let none = BooleanArray::from(vec![false]);
        sums.update_batch(&[Arc::new(Int64Array::from(vec![9]))], &[4], Some(&none), 5).unwrap();
        let found = sums.evaluate(EmitTo::All).unwrap();
        let expected = Int64Array::from(vec![Some(1), Some(7), None, Some(7), None]);
        assert_eq!(found.as_ref(), &expected as &dyn Array);
        add(&mut sums, Int64Array::from(vec![3]), &[0], 1).unwrap();
        assert_eq!(sums.evaluate(EmitTo::All).unwrap().null_count(), 0, "it begins anew");
    }

    #[test]
    fn a_total_without_room_names_the_row_and_what_was_added() {
        let mut sums = sums();
        let error = add(&mut sums, Int64Array::from(vec![3, i64::MAX, 4, 1]), &[0, 1, 0, 1], 2).unwrap_err();
        let overflow = Overflow::of(&error).unwrap();
        assert_eq!(overflow.at, 3);
        assert_eq!(overflow.to_string(), "9223372036854775807 + 1 doesn't fit bigint");
    }
}
