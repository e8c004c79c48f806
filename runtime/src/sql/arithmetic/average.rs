//! `AVG`: DataFusion's, but decimals are rounded and not cut, and a total without room is an error.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, Decimal128Array, UInt64Array},
    datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, UInt64Type, i256},
};
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::{
    AggregateUDF, EmitTo, GroupsAccumulator,
    function::{AccumulatorArgs, StateFieldsArgs},
};

use super::{Overflow, decimal::rounded, operators::value, sum::wrong_states, totals::Totals};

/// The sums and counts of decimals; none for other types.
pub(super) fn totals(inner: &AggregateUDF, args: &AccumulatorArgs<'_>) -> Result<Option<Box<dyn GroupsAccumulator>>> {
    let input = args.expr_fields.first().map(|field| field.data_type());
    let (Some(DataType::Decimal128(..)), DataType::Decimal128(digits, scale)) = (input, args.return_field.data_type())
    else {
        return Ok(None);
    };
    let output = (*digits, *scale);
    let states = inner.state_fields(StateFieldsArgs {
        name: args.name,
        input_fields: args.expr_fields,
        return_field: Arc::clone(&args.return_field),
        ordering_fields: &[],
        is_distinct: false,
    })?;
    let sum = states.last().map(|field| field.data_type().clone());
    Ok(match sum {
        Some(kind @ DataType::Decimal128(..)) => Some(Box::new(Averages::<Decimal128Type>::new(kind, output))),
        Some(kind @ DataType::Decimal256(..)) => Some(Box::new(Averages::<Decimal256Type>::new(kind, output))),
        _ => None,
    })
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
struct Averages<S: DecimalType> {
    counts: Totals<UInt64Type>,
    sums: Totals<S>,
    sum: DataType,
    /// Digits in all, and after the point, of an average.
    output: (u8, i8),
}

impl<S: DecimalType> Averages<S>
where
    S::Native: Wide,
{
    fn new(sum: DataType, output: (u8, i8)) -> Self {
        Self { counts: Totals::default(), sums: Totals::default(), sum, output }
    }

    fn full(&self, row: usize, groups: &[usize], added: &ArrayRef) -> Overflow {
        let sum = groups.get(row).map(|group| value(&self.sums.of(*group, &self.sum))).unwrap_or_default();
        Overflow::new(row, format!("{sum} + {}", value(&added.slice(row, 1))), &self.sum)
    }
}

impl<S: DecimalType> GroupsAccumulator for Averages<S>
where
    S::Native: Wide,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let [column] = values else { return wrong_states() };
        let values = column.as_primitive::<Decimal128Type>();
        let add = |sum: S::Native, value| sum.add_checked(S::Native::widen(value)).ok();
        self.sums.add(values, groups, filter, total, add).map_err(|row| self.full(row, groups, column))?;
        let counted = self.counts.add(values, groups, filter, total, |count, _| count.checked_add(1));
        counted.map_err(|row| Overflow::new(row, "the number of rows", &DataType::UInt64).into())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let [counts, sums] = states else { return wrong_states() };
        let add = |sum: S::Native, value| sum.add_checked(value).ok();
        let added = self.sums.add(sums.as_primitive::<S>(), groups, None, total, add);
        added.map_err(|row| self.full(row, groups, sums))?;
        let counted = self.counts.add(counts.as_primitive::<UInt64Type>(), groups, None, total, u64::checked_add);
        counted.map_err(|row| Overflow::new(row, "the number of rows", &DataType::UInt64).into())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let counts = self.counts.take(emit, &DataType::UInt64);
        let sums = self.sums.take(emit, &self.sum);
        let (digits, scale) = self.output;
        let kind = DataType::Decimal128(digits, scale);
        let (DataType::Decimal128(_, from) | DataType::Decimal256(_, from)) = self.sum else { return wrong_states() };
        let (shift, limit) = (i32::from(scale) - i32::from(from), 10_u128.pow(u32::from(digits)));
        let average = |group: usize| -> Result<Option<i128>> {
            if sums.is_null(group) || counts.is_null(group) || counts.value(group) == 0 {
                return Ok(None);
            }
            let (sum, count) = (sums.value(group), counts.value(group));
            let found = average(sum.widest(), count, shift).filter(|found| found.unsigned_abs() < limit);
            let what = || {
                let sum: ArrayRef = Arc::new(sums.slice(group, 1));
                format!("{} / {count}", value(&sum))
            };
            found.map(Some).ok_or_else(|| Overflow::new(group, what(), &kind).into())
        };
        let averages = (0..sums.len()).map(average).collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(averages.with_precision_and_scale(digits, scale)?))
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
