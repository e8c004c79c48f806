//! Running totals of groups, each as long as it has room.

use arrow::{
    array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, BooleanArray, PrimitiveArray},
    buffer::NullBuffer,
    datatypes::DataType,
};
use datafusion_expr::EmitTo;
use std::sync::Arc;

/// A total for every group; null for one that no value came to.
#[derive(Debug)]
pub(super) struct Totals<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    /// What the total of a group is before its first value.
    first: T::Native,
    /// Which groups had a value. As long as all had, this is not kept.
    seen: Option<Vec<bool>>,
}

impl<T: ArrowPrimitiveType> Default for Totals<T> {
    fn default() -> Self {
        Self::beginning_with(T::Native::ZERO)
    }
}

impl<T: ArrowPrimitiveType> Totals<T> {
    /// As the default, but what is added to first is `first` and not zero.
    pub(super) fn beginning_with(first: T::Native) -> Self {
        Self { values: Vec::new(), first, seen: None }
    }

    /// Adds the value of each row to the total of its group, by `add`, which says when there is no room.
    ///
    /// The error is the row where there was none; its total is as it was before.
    pub(super) fn add<V: ArrowPrimitiveType>(
        &mut self,
        values: &PrimitiveArray<V>,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
        add: impl Fn(T::Native, V::Native) -> Option<T::Native>,
    ) -> Result<(), usize> {
        let known = self.values.len();
        self.values.resize(total, self.first);
        let all_count = filter.is_none() && values.null_count() == 0;
        if !all_count && self.seen.is_none() {
            self.seen = Some(vec![true; known]);
        }
        if let Some(seen) = &mut self.seen {
            seen.resize(total, false);
        }
        if all_count {
            for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
                let sum = &mut self.values[*group];
                *sum = add(*sum, *value).ok_or(row)?;
            }
            if let Some(seen) = &mut self.seen {
                groups.iter().for_each(|group| seen[*group] = true);
            }
            return Ok(());
        }
        let Some(seen) = &mut self.seen else { return Ok(()) };
        for (row, (group, value)) in groups.iter().zip(values.iter()).enumerate() {
            let is_kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            let Some(value) = value.filter(|_| is_kept) else { continue };
            let sum = &mut self.values[*group];
            *sum = add(*sum, value).ok_or(row)?;
            seen[*group] = true;
        }
        Ok(())
    }

    /// The total of a group, as an array of one.
    pub(super) fn of(&self, group: usize, kind: &DataType) -> ArrayRef {
        let value = self.values.get(group).copied().unwrap_or_default();
        Arc::new(PrimitiveArray::<T>::from_value(value, 1).with_data_type(kind.clone()))
    }

    /// Gives away the totals of some groups.
    pub(super) fn take(&mut self, emit: EmitTo, kind: &DataType) -> PrimitiveArray<T> {
        let values = emit.take_needed(&mut self.values);
        let nulls = self.seen.as_mut().map(|seen| NullBuffer::from(emit.take_needed(seen)));
        if self.values.is_empty() {
            self.seen = None;
        }
        PrimitiveArray::new(values.into(), nulls).with_data_type(kind.clone())
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.as_ref().map_or(0, Vec::capacity)
    }
}
