//! Numbers, exactly.

use super::scan::{Parse, Scanner};

/// A number as it was written: `±mantissa × 10^exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    pub text: &'a [u8],
    negative: bool,
    /// `None` when it has more than 19 digits.
    mantissa: Option<u64>,
    exponent: i32,
}

/// A number as an integer of some unit, or why it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exact {
    Value(i128),
    /// It has digits below the unit.
    TooFine,
    /// It has more than 38 digits.
    TooLarge,
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Beyond it an exponent is as good as endless.
const FAR: i32 = 100_000;

/// Reads a number by the grammar of RFC 8259.
#[inline]
pub(super) fn read<'a>(scanner: &mut Scanner<'a>) -> Parse<Number<'a>> {
    let start = scanner.at();
    let negative = scanner.eat(b'-');
    let whole = scanner.digits();
    if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
        return Err(scanner.expected("a number"));
    }
    let mut fraction: &[u8] = &[];
    if scanner.eat(b'.') {
        fraction = scanner.digits();
        if fraction.is_empty() {
            return Err(scanner.expected("a digit after the point"));
        }
    }
    let mut exponent = 0;
    if scanner.eat(b'e') || scanner.eat(b'E') {
        let down = scanner.eat(b'-');
        if !down {
            scanner.eat(b'+');
        }
        let digits = scanner.digits();
        if digits.is_empty() {
            return Err(scanner.expected("a digit in the exponent"));
        }
        exponent = digits.iter().fold(0_i32, |value, digit| FAR.min(value * 10 + i32::from(digit - b'0')));
        if down {
            exponent = -exponent;
        }
    }
    let mantissa = (whole.len() + fraction.len() <= 19)
        .then(|| whole.iter().chain(fraction).fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0')));
    let exponent = exponent.saturating_sub(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
    Ok(Number { text: scanner.since(start), negative, mantissa, exponent })
}

/// Goes over a number, checking the grammar.
pub(super) fn skip(scanner: &mut Scanner<'_>) -> Parse<()> {
    read(scanner).map(drop)
}

impl Number<'_> {
    /// The number in units of `10^-scale`.
    #[inline]
    pub(super) fn exact(&self, scale: i32) -> Exact {
        let Some(mantissa) = self.mantissa else { return self.exact_of_many_digits(scale) };
        let shift = self.exponent.saturating_add(scale);
        if shift == 0 {
            return Exact::Value(self.signed(u128::from(mantissa)));
        }
        self.shifted(u128::from(mantissa), shift)
    }

    fn signed(&self, magnitude: u128) -> i128 {
        // At most 38 digits, which an i128 holds.
        let value = magnitude.cast_signed();
        if self.negative { -value } else { value }
    }

    fn shifted(&self, mantissa: u128, shift: i32) -> Exact {
        const LIMIT: u128 = 10_u128.pow(38);
        if mantissa == 0 {
            return Exact::Value(0);
        }
        let power = 10_u128.checked_pow(shift.unsigned_abs());
        if shift < 0 {
            return match power {
                Some(power) if mantissa.is_multiple_of(power) => Exact::Value(self.signed(mantissa / power)),
                _ => Exact::TooFine,
            };
        }
        match power.and_then(|power| mantissa.checked_mul(power)).filter(|value| *value < LIMIT) {
            Some(value) => Exact::Value(self.signed(value)),
            None => Exact::TooLarge,
        }
    }

    /// Zeros at either end do not count; what remains has 38 digits or can't be held.
    #[cold]
    fn exact_of_many_digits(&self, scale: i32) -> Exact {
        let digits: Vec<u8> = self
            .text
            .iter()
            .take_while(|byte| !matches!(byte, b'e' | b'E'))
            .filter(|byte| byte.is_ascii_digit())
            .map(|digit| digit - b'0')
            .skip_while(|digit| *digit == 0)
            .collect();
        let zeros = digits.iter().rev().take_while(|digit| **digit == 0).count();
        let significant = digits.get(..digits.len() - zeros).unwrap_or_default();
        let shift = self.exponent.saturating_add(scale).saturating_add(i32::try_from(zeros).unwrap_or(i32::MAX));
        if significant.len() > 38 {
            return if shift < 0 { Exact::TooFine } else { Exact::TooLarge };
        }
        self.shifted(significant.iter().fold(0, |value, digit| value * 10 + u128::from(*digit)), shift)
    }

    /// The nearest double; infinite when the number is too large.
    #[inline]
    pub(super) fn double(&self) -> f64 {
        // Both factors are exact, so their product or quotient is the nearest (W. Clinger, 1990).
        if let Some(mantissa) = self.mantissa.filter(|mantissa| *mantissa <= 1 << 53)
            && let Some(power) = POWERS.get(self.exponent.unsigned_abs() as usize)
        {
            let value = if self.exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
            return if self.negative { -value } else { value };
        }
        self.parse().unwrap_or(f64::INFINITY)
    }

    /// The nearest of a float type, by the standard library.
    pub(super) fn parse<T: std::str::FromStr>(&self) -> Option<T> {
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }
}
