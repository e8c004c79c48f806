//! Which numbers with a point are one key.
//!
//! `0.0` and `-0.0` are equal, and every NaN is one value, whatever its bits: so says `=`, and so must whatever hashes a
//! number or counts distinct ones.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Float32Type, Float64Type},
};

/// The number that stands for all that are equal to it.
pub fn canonical32(value: f32) -> f32 {
    // A negative zero and zero are zero.
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// As [`canonical32`].
pub fn canonical64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// The column with numbers that stand for all that are equal to them. It is the same one where all do already.
pub fn canonical(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let floats = column.as_primitive::<Float32Type>();
            // To the end whatever comes: so it is a loop without branches.
            let is_same = |all, value: &f32| all & (value.to_bits() == canonical32(*value).to_bits());
            if floats.values().iter().fold(true, is_same) {
                return column.clone();
            }
            Arc::new(floats.unary::<_, Float32Type>(canonical32))
        }
        DataType::Float64 => {
            let floats = column.as_primitive::<Float64Type>();
            let is_same = |all, value: &f64| all & (value.to_bits() == canonical64(*value).to_bits());
            if floats.values().iter().fold(true, is_same) {
                return column.clone();
            }
            Arc::new(floats.unary::<_, Float64Type>(canonical64))
        }
        DataType::List(item) if item.data_type().is_floating() => {
            let list = column.as_list::<i32>();
            let (item, offsets, values, nulls) = list.clone().into_parts();
            match arrow::array::ListArray::try_new(item, offsets, canonical(&values), nulls) {
                Ok(list) => Arc::new(list),
                // It had these parts before.
                Err(_) => column.clone(),
            }
        }
        _ => column.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array};

    use super::*;

    #[test]
    fn a_column_without_anything_to_change_is_the_same_column() {
        let same: [ArrayRef; 2] = [
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN), Some(0.0), Some(f64::INFINITY)])),
            Arc::new(Float32Array::from(vec![Some(1.5), None, Some(f32::NAN), Some(0.0)])),
        ];
        assert!(same.iter().all(|column| Arc::ptr_eq(&canonical(column), column)));
        let other: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(-f64::NAN), Some(2.5)]));
        let bits =
            |column: &ArrayRef| column.as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits)).collect();
        let found: Vec<Option<u64>> = bits(&canonical(&other));
        assert_eq!(found, [Some(0.0), None, Some(f64::NAN), Some(2.5)].map(|value| value.map(f64::to_bits)));
    }

    #[test]
    fn equal_numbers_have_equal_bits() {
        let bits = |value: f64| canonical64(value).to_bits();
        assert_eq!(bits(-0.0), bits(0.0));
        assert_eq!(bits(-f64::NAN), bits(f64::from_bits(0x7ff8_0000_0000_0001)));
        assert_eq!(canonical32(-0.0).to_bits(), 0);
        for value in [1.5, -1.5, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY, -5e-324] {
            assert_eq!(bits(value), value.to_bits(), "{value}");
        }
    }
}
