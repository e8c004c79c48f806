//! `AVG`: DataFusion's, but decimals and differences of instants are rounded and not cut, and a total without room is an error.

use std::{marker::PhantomData, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, UInt64Array,
    },
    datatypes::{
        DataType, Decimal128Type, Decimal256Type, DecimalType, DurationMicrosecondType, DurationMillisecondType,
        DurationNanosecondType, DurationSecondType, TimeUnit, UInt64Type, i256,
    },
};
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::{
    AggregateUDF, EmitTo, GroupsAccumulator,
    function::{AccumulatorArgs, StateFieldsArgs},
};

use super::{Overflow, decimal::rounded, operators::value, sum::wrong_states, totals::Totals};

/// The sums and counts of decimals and of durations; none for other types.
pub(super) fn totals(inner: &AggregateUDF, args: &AccumulatorArgs<'_>) -> Result<Option<Box<dyn GroupsAccumulator>>> {
    let states = inner.state_fields(StateFieldsArgs {
        name: args.name,
        input_fields: args.expr_fields,
        return_field: Arc::clone(&args.return_field),
        ordering_fields: &[],
        is_distinct: false,
    })?;
    let Some(sum) = states.last().map(|field| field.data_type().clone()) else { return Ok(None) };
    let output = args.return_field.data_type();
    let input = args.expr_fields.first().map(|field| field.data_type());
    Ok(match (input, &sum, output) {
        (Some(DataType::Decimal128(..)), DataType::Decimal128(..), DataType::Decimal128(digits, scale)) => {
            Some(Averages::<Decimals<Decimal128Type>>::boxed(sum, (*digits, *scale)))
        }
        (Some(DataType::Decimal128(..)), DataType::Decimal256(..), DataType::Decimal128(digits, scale)) => {
            Some(Averages::<Decimals<Decimal256Type>>::boxed(sum, (*digits, *scale)))
        }
        (Some(DataType::Duration(unit)), DataType::Duration(_), DataType::Duration(_)) => Some(match unit {
            TimeUnit::Second => Averages::<Durations<DurationSecondType>>::boxed(sum, ()),
            TimeUnit::Millisecond => Averages::<Durations<DurationMillisecondType>>::boxed(sum, ()),
            TimeUnit::Microsecond => Averages::<Durations<DurationMicrosecondType>>::boxed(sum, ()),
            TimeUnit::Nanosecond => Averages::<Durations<DurationNanosecondType>>::boxed(sum, ()),
        }),
        _ => None,
    })
}

/// How values of a type are averaged.
trait Averaged: 'static {
    type Value: ArrowPrimitiveType;
    type Sum: ArrowPrimitiveType;
    /// What there is to know of an average.
    type Output: Copy + Send;

    fn widen(value: <Self::Value as ArrowPrimitiveType>::Native) -> <Self::Sum as ArrowPrimitiveType>::Native;

    fn kind(sum: &DataType, output: Self::Output) -> DataType;

    /// `sum / count`, where there is room.
    fn average(
        sum: <Self::Sum as ArrowPrimitiveType>::Native,
        count: u64,
        kind: &DataType,
        output: Self::Output,
    ) -> Option<<Self::Value as ArrowPrimitiveType>::Native>;
}

/// Decimals, summed as `S`; an average has so many digits in all, and after the point.
#[derive(Debug)]
struct Decimals<S>(PhantomData<fn() -> S>);

impl<S: DecimalType> Averaged for Decimals<S>
where
    S::Native: Wide,
{
    type Value = Decimal128Type;
    type Sum = S;
    type Output = (u8, i8);

    fn widen(value: i128) -> S::Native {
        S::Native::widen(value)
    }

    fn kind(_: &DataType, (digits, scale): Self::Output) -> DataType {
        DataType::Decimal128(digits, scale)
    }

    fn average(sum: S::Native, count: u64, kind: &DataType, (digits, scale): Self::Output) -> Option<i128> {
        let (DataType::Decimal128(_, from) | DataType::Decimal256(_, from)) = kind else { return None };
        let limit = 10_u128.pow(u32::from(digits));
        average(sum.widest(), count, i32::from(scale) - i32::from(*from)).filter(|found| found.unsigned_abs() < limit)
    }
}

/// Differences of instants, as numbers of their unit.
#[derive(Debug)]
struct Durations<T>(PhantomData<fn() -> T>);

impl<T: ArrowPrimitiveType<Native = i64>> Averaged for Durations<T> {
    type Value = T;
    type Sum = T;
    type Output = ();

    fn widen(value: i64) -> i64 {
        value
    }

    fn kind(sum: &DataType, (): ()) -> DataType {
        sum.clone()
    }

    fn average(sum: i64, count: u64, _: &DataType, (): ()) -> Option<i64> {
        i64::try_from(rounded(i128::from(sum), i128::from(count))?).ok()
    }
}

/// What decimals are summed in.
trait Wide: ArrowNativeTypeOp {
    fn widen(value: i128) -> Self;
    fn widest(self) -> i256;
}

impl Wide for i128 {
    fn widen(value: i128) -> Self {
        value
    }

    fn widest(self) -> i256 {
        i256::from_i128(self)
    }
}

impl Wide for i256 {
    fn widen(value: i128) -> Self {
        Self::from_i128(value)
    }

    fn widest(self) -> i256 {
        self
    }
}

#[derive(Debug)]
struct Averages<A: Averaged> {
    counts: Totals<UInt64Type>,
    sums: Totals<A::Sum>,
    /// The type of a sum.
    sum: DataType,
    output: A::Output,
}

impl<A: Averaged> Averages<A> {
    fn boxed(sum: DataType, output: A::Output) -> Box<dyn GroupsAccumulator> {
        Box::new(Self { counts: Totals::default(), sums: Totals::default(), sum, output })
    }

    fn full(&self, row: usize, groups: &[usize], added: &ArrayRef) -> Overflow {
        let sum = groups.get(row).map(|group| value(&self.sums.of(*group, &self.sum))).unwrap_or_default();
        Overflow::new(row, format!("{sum} + {}", value(&added.slice(row, 1))), &self.sum)
    }
}

impl<A: Averaged> GroupsAccumulator for Averages<A> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let [column] = values else { return wrong_states() };
        let values = column.as_primitive::<A::Value>();
        let add = |sum: <A::Sum as ArrowPrimitiveType>::Native, value| sum.add_checked(A::widen(value)).ok();
        self.sums.add(values, groups, filter, total, add).map_err(|row| self.full(row, groups, column))?;
        let counted = self.counts.add(values, groups, filter, total, |count, _| count.checked_add(1));
        counted.map_err(|row| Overflow::new(row, "the number of rows", &DataType::UInt64).into())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let [counts, sums] = states else { return wrong_states() };
        let add = |sum: <A::Sum as ArrowPrimitiveType>::Native, value| sum.add_checked(value).ok();
        let added = self.sums.add(sums.as_primitive::<A::Sum>(), groups, None, total, add);
        added.map_err(|row| self.full(row, groups, sums))?;
        let counted = self.counts.add(counts.as_primitive::<UInt64Type>(), groups, None, total, u64::checked_add);
        counted.map_err(|row| Overflow::new(row, "the number of rows", &DataType::UInt64).into())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let counts = self.counts.take(emit, &DataType::UInt64);
        let sums = self.sums.take(emit, &self.sum);
        let kind = A::kind(&self.sum, self.output);
        let average = |group: usize| {
            if sums.is_null(group) || counts.is_null(group) || counts.value(group) == 0 {
                return Ok(None);
            }
            let (sum, count) = (sums.value(group), counts.value(group));
            let what = || {
                let sum: ArrayRef = Arc::new(sums.slice(group, 1));
                format!("{} / {count}", value(&sum))
            };
            let found = A::average(sum, count, &self.sum, self.output);
            found.map(Some).ok_or_else(|| Overflow::new(group, what(), &kind).into())
        };
        let averages = (0..sums.len()).map(average).collect::<Result<PrimitiveArray<A::Value>>>()?;
        Ok(Arc::new(averages.with_data_type(kind)))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let counts: UInt64Array = self.counts.take(emit, &DataType::UInt64);
        Ok(vec![Arc::new(counts), Arc::new(self.sums.take(emit, &self.sum))])
    }

    fn convert_to_state(&self, _: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        not_impl_err!("rows as partial states")
    }

    fn size(&self) -> usize {
        self.counts.size() + self.sums.size()
    }
}

/// `sum / count`, `shift` digits more after the point than the sum has.
fn average(sum: i256, count: u64, shift: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(u32::try_from(shift).ok()?)?;
    if let Some(sum) = sum.to_i128().and_then(|sum| sum.checked_mul(power)) {
        return rounded(sum, i128::from(count));
    }
    rounded(sum.checked_mul(i256::from_i128(power))?, i256::from_i128(i128::from(count)))?.to_i128()
}
