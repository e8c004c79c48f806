//! Decimals: quotients that are rounded, and how many digits there may be.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, Datum, Decimal128Array, new_null_array},
    compute::try_binary,
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, i256},
    error::ArrowError,
};

/// `numerator / denominator`, rounded to the nearest whole number, halves away from zero. `None` if there is no room, or
/// nothing to divide by.
pub(super) fn rounded<N: ArrowNativeTypeOp>(numerator: N, denominator: N) -> Option<N> {
    let quotient = numerator.div_checked(denominator).ok()?;
    let rest = numerator.mod_checked(denominator).ok()?;
    // Twice the rest may have no room, so it is compared with what it lacks.
    let magnitude = |value: N| if value.is_lt(N::ZERO) { value } else { value.neg_wrapping() };
    let (rest_below, denominator_below) = (magnitude(rest), magnitude(denominator));
    // Both are negative now: at least half when the rest is no greater than what it lacks of the denominator.
    if rest_below.is_gt(denominator_below.sub_wrapping(rest_below)) {
        return Some(quotient);
    }
    let is_negative = numerator.is_lt(N::ZERO) != denominator.is_lt(N::ZERO);
    if is_negative { quotient.sub_checked(N::ONE).ok() } else { quotient.add_checked(N::ONE).ok() }
}

/// `left / right` of decimals, as many digits after the point as `kind` has.
pub(super) fn divide(left: &dyn Datum, right: &dyn Datum, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let ((left, one_left), (right, one_right)) = (left.get(), right.get());
    let (&DataType::Decimal128(_, s1), &DataType::Decimal128(_, s2), &DataType::Decimal128(precision, scale)) =
        (left.data_type(), right.data_type(), kind)
    else {
        return Err(ArrowError::InvalidArgumentError("decimals are divided by decimals only".to_owned()));
    };
    // left / 10^s1 / (right / 10^s2) * 10^scale
    let shift = i32::from(scale) - i32::from(s1) + i32::from(s2);
    let power = 10_i128.checked_pow(shift.unsigned_abs());
    let quotient = |left: i128, right: i128| {
        if right == 0 {
            return Err(ArrowError::DivideByZero);
        }
        let narrow = power.and_then(|power| {
            if shift >= 0 { rounded(left.checked_mul(power)?, right) } else { rounded(left, right.checked_mul(power)?) }
        });
        let found = narrow.or_else(|| wide(left, right, shift));
        found.ok_or_else(|| ArrowError::ArithmeticOverflow(String::new()))
    };
    let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    let quotients: Decimal128Array = match (one_left, one_right) {
        (true, false) if left.is_null(0) => return Ok(new_null_array(kind, right.len())),
        (false, true) if right.is_null(0) => return Ok(new_null_array(kind, left.len())),
        (true, false) => right.try_unary(|right| quotient(left.value(0), right))?,
        (false, true) => left.try_unary(|left| quotient(left, right.value(0)))?,
        _ => try_binary::<_, _, _, Decimal128Type>(left, right, quotient)?,
    };
    let quotients = quotients.with_precision_and_scale(precision, scale)?;
    fits(&quotients)?;
    Ok(Arc::new(quotients))
}

/// As [`divide`], where a product has no room in 128 bits.
fn wide(left: i128, right: i128, shift: i32) -> Option<i128> {
    let power = i256::from_i128(10).checked_pow(shift.unsigned_abs())?;
    let (left, right) = (i256::from_i128(left), i256::from_i128(right));
    let quotient =
        if shift >= 0 { rounded(left.checked_mul(power)?, right) } else { rounded(left, right.checked_mul(power)?) };
    quotient?.to_i128()
}

/// Refuses values with more digits than a decimal has. A type with fewer than the most has room for whatever its
/// operator gives.
pub(super) fn fits(values: &Decimal128Array) -> Result<(), ArrowError> {
    match values.data_type() {
        DataType::Decimal128(DECIMAL128_MAX_PRECISION, _) => {
            values.validate_decimal_precision(DECIMAL128_MAX_PRECISION)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (numerator, denominator, quotient) in [
            (5, 10, Some(1)),
            (-5, 10, Some(-1)),
            (5, -10, Some(-1)),
            (-5, -10, Some(1)),
            (4, 10, Some(0)),
            (-4, 10, Some(0)),
            (15, 10, Some(2)),
            (7, 7, Some(1)),
            (1, 3, Some(0)),
            (2, 3, Some(1)),
            (0, 3, Some(0)),
            (1, 0, None),
            (i128::MAX, 1, Some(i128::MAX)),
            (i128::MIN, -1, None),
            (i128::MIN, i128::MIN, Some(1)),
            (i128::MAX, i128::MIN, Some(-1)),
            (i128::MAX, 2, Some(i128::MAX / 2 + 1)),
        ] {
            assert_eq!(rounded(numerator, denominator), quotient, "{numerator} / {denominator}");
        }
    }

    proptest! {
        #[test]
        fn narrow_and_wide_quotients_agree(left in -1_000_000_i128..1_000_000, right in 1_i128..5_000, shift in -6_i32..12) {
            let power = 10_i128.pow(shift.unsigned_abs());
            let narrow = if shift >= 0 { rounded(left * power, right) } else { rounded(left, right * power) };
            prop_assert_eq!(narrow, wide(left, right, shift));
        }
    }
}
