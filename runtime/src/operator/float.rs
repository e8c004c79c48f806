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

/// The column with numbers that stand for all that are equal to them.
pub fn canonical(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(canonical32)),
        DataType::Float64 => Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical64)),
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
    use super::*;

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
