//! `DATE_FORMAT(time, 'yyyy-MM-dd')`: a date or an instant as text, by a pattern of Java's letters, as in Flink.
//!
//! | letters | |
//! |---|---|
//! | `yyyy`, `yy` | year, its last two digits |
//! | `M`, `MM`, `MMM`, `MMMM` | month: number, two digits, short and full English name |
//! | `d`, `dd`, `D`, `DDD` | day of the month, of the year |
//! | `E`, `EEEE` | day of the week: short and full English name |
//! | `H`, `HH`, `h`, `hh`, `a` | hour of 0 to 23, of 1 to 12, AM or PM |
//! | `m`, `mm`, `s`, `ss` | minute, second |
//! | `S` to `SSSSSSSSS` | so many digits of the second |
//! | `'…'`, `''` | text as it is, a quote |
//!
//! Other letters are refused when the job is planned, so none is ever written as it stands.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringBuilder},
    datatypes::{
        DataType, Date32Type, FieldRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType,
    },
};
use datafusion_common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::format::civil_from_days;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// 1970-01-01 was the first.
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const DAY_NANOS: i128 = 86_400_000_000_000;

pub(super) const ACCEPTED: &str = "accepted are Java's letters y, M, d, D, E, H, h, a, m, s, S and text in single quotes, such as 'yyyy-MM-dd HH:mm:ss'";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A letter and how often it stands.
    Field(char, usize),
}

/// A pattern that is known to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

impl Pattern {
    /// The error is what was found that is none.
    pub(super) fn read(text: &str) -> std::result::Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                pieces.push(Piece::Text(quoted(&mut chars)?));
            } else if c.is_ascii_alphabetic() {
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                if !is_field(c, count) {
                    return Err(format!("`{}`", c.to_string().repeat(count)));
                }
                pieces.push(Piece::Field(c, count));
            } else if c == '%' {
                return Err("`%`, a pattern of to_char".to_owned());
            } else {
                pieces.push(Piece::Text(c.to_string()));
            }
        }
        if pieces.iter().any(|piece| matches!(piece, Piece::Field(..))) {
            return Ok(Self(pieces));
        }
        Err("no letter of a date".to_owned())
    }

    fn write(&self, out: &mut StringBuilder, instant: Instant) -> std::fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => out.write_str(text),
            Piece::Field(letter, count) => instant.write(out, *letter, *count),
        })
    }
}

/// What stands up to the closing quote; two quotes are one.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> std::result::Result<String, String> {
    if chars.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if chars.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            return Ok(text);
        }
    }
    Err("a quote that is not closed".to_owned())
}

fn is_field(letter: char, count: usize) -> bool {
    match letter {
        'y' | 'M' | 'E' => count <= 4,
        'd' | 'H' | 'h' | 'm' | 's' => count <= 2,
        'D' => count <= 3,
        'a' => count == 1,
        'S' => count <= 9,
        _ => false,
    }
}

/// Days since 1970 and nanoseconds of the day.
#[derive(Debug, Clone, Copy)]
struct Instant {
    days: i64,
    nanos: i64,
}

impl Instant {
    fn of_nanos(nanos: i128) -> Self {
        Self { days: nanos.div_euclid(DAY_NANOS) as i64, nanos: nanos.rem_euclid(DAY_NANOS) as i64 }
    }

    fn write(self, out: &mut StringBuilder, letter: char, count: usize) -> std::fmt::Result {
        let (year, month, day) = civil_from_days(self.days);
        let seconds = self.nanos / 1_000_000_000;
        let name = |names: &[&'static str], index: i64| -> &'static str {
            let name = names.get(index as usize).copied().unwrap_or_default();
            if count < 4 { name.get(..3).unwrap_or(name) } else { name }
        };
        match (letter, count) {
            ('y', 2) => write!(out, "{:02}", year.rem_euclid(100)),
            ('y', _) => write!(out, "{year:0count$}"),
            ('M', 3 | 4) => out.write_str(name(&MONTHS, month - 1)),
            ('E', _) => out.write_str(name(&DAYS, self.days.rem_euclid(7))),
            ('M', _) => write!(out, "{month:0count$}"),
            ('d', _) => write!(out, "{day:0count$}"),
            ('D', _) => {
                let first = crate::format::days_from_civil(year, 1, 1);
                write!(out, "{:0count$}", self.days - first + 1)
            }
            ('H', _) => write!(out, "{:0count$}", seconds / 3_600),
            ('h', _) => write!(out, "{:0count$}", (seconds / 3_600 + 11) % 12 + 1),
            ('a', _) => out.write_str(if seconds < 43_200 { "AM" } else { "PM" }),
            ('m', _) => write!(out, "{:0count$}", seconds / 60 % 60),
            ('s', _) => write!(out, "{:0count$}", seconds % 60),
            _ => {
                let digits = self.nanos % 1_000_000_000 / 10_i64.pow(9 - count as u32);
                write!(out, "{digits:0count$}")
            }
        }
    }
}

/// The function, in place of the library's of this name, whose patterns are others.
pub(super) fn date_format() -> ScalarUDF {
    ScalarUDF::new_from_impl(DateFormat { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateFormat {
    signature: Signature,
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &'static str {
        "date_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [DataType::Date32 | DataType::Timestamp(..), DataType::Utf8] => Ok(arguments.to_vec()),
            [DataType::Null, DataType::Utf8] => Ok(vec![DataType::Date32, DataType::Utf8]),
            _ => plan_err!("accepted is date_format(time, 'pattern'), of a date or a timestamp"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(arrow::datatypes::Field::new(self.name(), DataType::Utf8, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [times, ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern)))] = args.args.as_slice() else {
            return plan_err!("the pattern of date_format must be a literal");
        };
        let pattern = Pattern::read(pattern).map_err(|found| {
            DataFusionError::Plan(format!("found {found} in the pattern of date_format; {ACCEPTED}"))
        })?;
        let is_scalar = matches!(times, ColumnarValue::Scalar(_));
        let texts = formatted(&times.to_array(if is_scalar { 1 } else { args.number_rows })?, &pattern)?;
        if is_scalar {
            ScalarValue::try_from_array(&texts, 0).map(ColumnarValue::Scalar)
        } else {
            Ok(ColumnarValue::Array(texts))
        }
    }
}

fn formatted(times: &ArrayRef, pattern: &Pattern) -> Result<ArrayRef> {
    let mut out = StringBuilder::with_capacity(times.len(), times.len() * 20);
    let mut write = |instant: Option<Instant>| -> Result<()> {
        let Some(instant) = instant else {
            out.append_null();
            return Ok(());
        };
        pattern.write(&mut out, instant).map_err(|error| DataFusionError::External(Box::new(error)))?;
        out.append_value("");
        Ok(())
    };
    macro_rules! instants {
        ($type:ty, $nanos:expr) => {
            times
                .as_primitive::<$type>()
                .iter()
                .try_for_each(|at| write(at.map(|at| Instant::of_nanos(i128::from(at) * $nanos))))
        };
    }
    match times.data_type() {
        DataType::Date32 => instants!(Date32Type, DAY_NANOS),
        DataType::Timestamp(TimeUnit::Second, _) => instants!(TimestampSecondType, 1_000_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => instants!(TimestampMillisecondType, 1_000_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => instants!(TimestampMicrosecondType, 1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => instants!(TimestampNanosecondType, 1),
        _ => exec_err!("date_format takes a date or a timestamp"),
    }?;
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, TimestampMicrosecondArray};

    use super::*;

    fn one(times: ArrayRef, pattern: &str) -> String {
        let texts = formatted(&times, &Pattern::read(pattern).unwrap()).unwrap();
        texts.as_string::<i32>().value(0).to_owned()
    }

    #[test]
    fn every_letter_says_its_part() {
        let at = |micros: i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![micros])) };
        // 2026-02-03T04:05:06.789012Z, a Tuesday.
        let time = 1_770_091_506_789_012;
        for (pattern, text) in [
            ("yyyy-MM-dd", "2026-02-03"),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2026-02-03 04:05:06.789"),
            ("yyyyMMdd'T'HHmmss''", "20260203T040506'"),
            ("d/M/yy H:m:s", "3/2/26 4:5:6"),
            ("E, EEEE d MMM, MMMM", "Tue, Tuesday 3 Feb, February"),
            ("D DDD", "34 034"),
            ("hh a", "04 AM"),
            ("SSSSSSSSS S", "789012000 7"),
            ("'o''clock' h", "o'clock 4"),
            ("yyyy年", "2026年"),
        ] {
            assert_eq!(one(at(time), pattern), text, "{pattern}");
        }
        assert_eq!(one(at(-1), "yyyy-MM-dd HH:mm:ss.SSSSSS EEE hh a"), "1969-12-31 23:59:59.999999 Wed 11 PM");
        assert_eq!(one(at(43_200_000_000), "hh a"), "12 PM");
        assert_eq!(one(at(0), "hh a"), "12 AM");
        assert_eq!(one(Arc::new(Date32Array::from(vec![20_484])), "dd.MM.yyyy HH"), "31.01.2026 00");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (pattern, found) in [
            ("%Y-%m-%d", "`%`"),
            ("YYYY-MM-dd", "`YYYY`"),
            ("yyyyy", "`yyyyy`"),
            ("yyyy-MM-dd'T", "not closed"),
            ("", "no letter"),
            ("--", "no letter"),
            ("HH:mm:ss z", "`z`"),
        ] {
            assert!(Pattern::read(pattern).unwrap_err().contains(found), "{pattern}");
        }
    }
}
