//! A column under construction, whose last row can be taken back.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Float32Array,
        Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, FieldRef, TimeUnit},
    error::ArrowError,
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    number::{self, Exact, Number},
    scan::{Parse, Scanner, Wrong, excerpt},
};
use crate::format::calendar;

pub(super) struct Column {
    field: FieldRef,
    values: Values,
    /// Rows that are null, in order: few, as a rule.
    nulls: Vec<u32>,
}

enum Values {
    Boolean(Vec<bool>),
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8, limit: i128 },
    Date(Vec<i32>),
    Timestamp { values: Vec<i64>, unit: TimeUnit, zone: Option<Arc<str>> },
    Text(Blobs),
    Bytes(Blobs),
}

#[derive(Default)]
struct Blobs {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Blobs {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // The decoder keeps a batch below 2 GiB.
        self.ends.push(self.bytes.len() as i32);
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0) as usize);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let ends = std::mem::take(&mut self.ends);
        let bytes = std::mem::take(&mut self.bytes);
        let offsets: Vec<i32> = std::iter::once(0).chain(ends.iter().copied()).collect();
        // The next batch is about as large as this one.
        self.ends = Vec::with_capacity(ends.len());
        self.bytes = Vec::with_capacity(bytes.len());
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes))
    }
}

fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let capacity = values.len();
    std::mem::replace(values, Vec::with_capacity(capacity))
}

impl Column {
    /// `None` when JSON has no way to fill such a column.
    pub(super) fn new(field: &FieldRef) -> Option<Self> {
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int32 => Values::Int(Vec::new()),
            DataType::Int64 => Values::BigInt(Vec::new()),
            DataType::Float32 => Values::Float(Vec::new()),
            DataType::Float64 => Values::Double(Vec::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
                limit: 10_i128.checked_pow(u32::from(*precision))?,
            },
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Timestamp(unit, zone) => {
                Values::Timestamp { values: Vec::new(), unit: *unit, zone: zone.clone() }
            }
            DataType::Utf8 => Values::Text(Blobs::default()),
            DataType::Binary => Values::Bytes(Blobs::default()),
            _ => return None,
        };
        Some(Self { field: Arc::clone(field), values, nulls: Vec::new() })
    }

    pub(super) fn name(&self) -> &str {
        self.field.name()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::Boolean(values) => values.len(),
            Values::Int(values) | Values::Date(values) => values.len(),
            Values::BigInt(values) | Values::Timestamp { values, .. } => values.len(),
            Values::Float(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Decimal { values, .. } => values.len(),
            Values::Text(blobs) | Values::Bytes(blobs) => blobs.ends.len(),
        }
    }

    /// Forgets all rows from `rows` on.
    pub(super) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int(values) | Values::Date(values) => values.truncate(rows),
            Values::BigInt(values) | Values::Timestamp { values, .. } => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::Text(blobs) | Values::Bytes(blobs) => blobs.truncate(rows),
        }
        while self.nulls.last().is_some_and(|row| *row as usize >= rows) {
            self.nulls.pop();
        }
    }

    pub(super) fn push_null(&mut self, what: &'static str) -> Parse<()> {
        if !self.field.is_nullable() {
            return Err(Wrong(format!("column `{}` is {what}, and its schema says `nullable: false`", self.name())));
        }
        self.nulls.push(self.len() as u32);
        match &mut self.values {
            Values::Boolean(values) => values.push(false),
            Values::Int(values) | Values::Date(values) => values.push(0),
            Values::BigInt(values) | Values::Timestamp { values, .. } => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(blobs) | Values::Bytes(blobs) => blobs.push(&[]),
        }
        Ok(())
    }

    /// Reads one value, which is not `null`.
    #[inline]
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_>, scratch: &mut Vec<u8>) -> Parse<()> {
        match &mut self.values {
            Values::Text(blobs) if scanner.peek() == Some(b'"') => {
                blobs.push(scanner.string(scratch)?);
                Ok(())
            }
            Values::Boolean(values) => {
                let value = scanner.eat_all(b"true");
                if !value && !scanner.eat_all(b"false") {
                    return Err(self.unfit(scanner, None));
                }
                values.push(value);
                Ok(())
            }
            _ if scanner.peek() == Some(b'"') => {
                let text = scanner.string(scratch)?;
                self.read_quoted(text)
            }
            Values::Text(_) | Values::Bytes(_) => Err(self.unfit(scanner, None)),
            _ => match scanner.peek() {
                Some(b'-' | b'0'..=b'9') => {
                    let number = number::read(scanner)?;
                    self.push_number(&number)
                }
                _ => Err(self.unfit(scanner, None)),
            },
        }
    }

    fn read_quoted(&mut self, text: &[u8]) -> Parse<()> {
        let value = match &mut self.values {
            Values::Timestamp { values, unit, .. } => calendar::parse_instant(text)
                .filter(|(seconds, _)| calendar::has_instant(*seconds))
                .and_then(|instant| in_unit(instant, *unit))
                .map(|value| values.push(value)),
            Values::Date(values) => calendar::parse_date(text).map(|days| values.push(days as i32)),
            Values::Bytes(blobs) => STANDARD.decode(text).ok().map(|bytes| blobs.push(&bytes)),
            _ => {
                let mut scanner = Scanner::new(text);
                if let Ok(number) = number::read(&mut scanner)
                    && scanner.peek().is_none()
                {
                    return self.push_number(&number);
                }
                None
            }
        };
        value.ok_or_else(|| self.wrong(text, None))
    }

    #[inline]
    fn push_number(&mut self, number: &Number<'_>) -> Parse<()> {
        let why = match &mut self.values {
            Values::Decimal { values, scale, limit, .. } => match number.exact(i32::from(*scale)) {
                Exact::Value(value) if value < *limit && value > -*limit => {
                    values.push(value);
                    return Ok(());
                }
                Exact::TooFine => "too many digits after the point",
                _ => "too many digits",
            },
            Values::Int(values) => match whole(number) {
                Ok(value) => {
                    values.push(value);
                    return Ok(());
                }
                Err(why) => why,
            },
            Values::Date(values) => match whole(number) {
                Ok(days) if calendar::has_date(i64::from(days)) => {
                    values.push(days);
                    return Ok(());
                }
                Ok(_) => NO_SUCH_YEAR,
                Err(why) => why,
            },
            Values::BigInt(values) => match whole(number) {
                Ok(value) => {
                    values.push(value);
                    return Ok(());
                }
                Err(why) => why,
            },
            Values::Timestamp { values, unit, .. } => match whole::<i64>(number) {
                Ok(value) if calendar::has_instant(value.div_euclid(per_second(*unit))) => {
                    values.push(value);
                    return Ok(());
                }
                Ok(_) => NO_SUCH_YEAR,
                Err(why) => why,
            },
            Values::Double(values) => {
                let value = number.double();
                if value.is_finite() {
                    values.push(value);
                    return Ok(());
                }
                "out of range"
            }
            Values::Float(values) => match number.parse::<f32>().filter(|value| value.is_finite()) {
                Some(value) => {
                    values.push(value);
                    return Ok(());
                }
                None => "out of range",
            },
            Values::Boolean(_) | Values::Text(_) | Values::Bytes(_) => "not a number column",
        };
        Err(self.wrong(number.text, Some(why)))
    }

    #[cold]
    fn unfit(&self, scanner: &Scanner<'_>, why: Option<&str>) -> Wrong {
        let Wrong(found) = scanner.expected(&self.accepted());
        Wrong(format!("column `{}`: {found}{}", self.name(), why.unwrap_or_default()))
    }

    #[cold]
    fn wrong(&self, found: &[u8], why: Option<&str>) -> Wrong {
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Wrong(format!("column `{}`: expected {}, found `{}`{why}", self.name(), self.accepted(), excerpt(found)))
    }

    fn accepted(&self) -> String {
        match &self.values {
            Values::Boolean(_) => "true or false".to_owned(),
            Values::Int(_) => "an int (-2147483648 to 2147483647)".to_owned(),
            Values::BigInt(_) => "a bigint (a whole number of 64 bits)".to_owned(),
            Values::Float(_) => "a float".to_owned(),
            Values::Double(_) => "a double".to_owned(),
            Values::Decimal { precision, scale, .. } => format!("a decimal({precision},{scale})"),
            Values::Date(_) => "a date such as \"2026-01-31\" or days since 1970".to_owned(),
            Values::Timestamp { unit, .. } => {
                let unit = match unit {
                    TimeUnit::Second => "seconds",
                    TimeUnit::Millisecond => "milliseconds",
                    TimeUnit::Microsecond => "microseconds",
                    TimeUnit::Nanosecond => "nanoseconds",
                };
                format!("an instant such as \"2026-01-31T12:00:00Z\" or {unit} since 1970")
            }
            Values::Text(_) => "a string".to_owned(),
            Values::Bytes(_) => "bytes in base64".to_owned(),
        }
    }

    /// The column's rows; it is empty afterwards.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let rows = self.len();
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut valid = BooleanBufferBuilder::new(rows);
            valid.append_n(rows, true);
            for row in self.nulls.drain(..) {
                valid.set_bit(row as usize, false);
            }
            NullBuffer::new(valid.finish())
        });
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(take(values).into(), nulls)),
            Values::Int(values) => Arc::new(Int32Array::new(take(values).into(), nulls)),
            Values::Date(values) => Arc::new(Date32Array::new(take(values).into(), nulls)),
            Values::BigInt(values) => Arc::new(Int64Array::new(take(values).into(), nulls)),
            Values::Float(values) => Arc::new(Float32Array::new(take(values).into(), nulls)),
            Values::Double(values) => Arc::new(Float64Array::new(take(values).into(), nulls)),
            Values::Decimal { values, precision, scale, .. } => {
                Arc::new(Decimal128Array::new(take(values).into(), nulls).with_precision_and_scale(*precision, *scale)?)
            }
            Values::Timestamp { values, unit, zone } => {
                let (values, zone) = (take(values).into(), zone.clone());
                match unit {
                    TimeUnit::Second => Arc::new(TimestampSecondArray::new(values, nulls).with_timezone_opt(zone)),
                    TimeUnit::Millisecond => {
                        Arc::new(TimestampMillisecondArray::new(values, nulls).with_timezone_opt(zone))
                    }
                    TimeUnit::Microsecond => {
                        Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone_opt(zone))
                    }
                    TimeUnit::Nanosecond => {
                        Arc::new(TimestampNanosecondArray::new(values, nulls).with_timezone_opt(zone))
                    }
                }
            }
            Values::Text(blobs) => {
                let (offsets, bytes) = blobs.take();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Bytes(blobs) => {
                let (offsets, bytes) = blobs.take();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
        })
    }
}

/// A number as a whole one of some width.
#[inline]
fn whole<T: TryFrom<i128>>(number: &Number<'_>) -> Result<T, &'static str> {
    match number.exact(0) {
        Exact::Value(value) => T::try_from(value).map_err(|_| "out of range"),
        Exact::TooFine => Err("not a whole number"),
        Exact::TooLarge => Err("out of range"),
    }
}

const NO_SUCH_YEAR: &str = "outside the years 0 to 9999";

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// `None` when the instant is too far away for the unit.
fn in_unit((seconds, nanos): (i64, u32), unit: TimeUnit) -> Option<i64> {
    let per_second = per_second(unit);
    let parts = i64::from(nanos) / (1_000_000_000 / per_second);
    seconds.checked_mul(per_second)?.checked_add(parts)
}
