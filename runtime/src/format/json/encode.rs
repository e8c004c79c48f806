//! A batch to JSON lines.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{
        Array, ArrowPrimitiveType, AsArray, BinaryArray, GenericBinaryArray, OffsetSizeTrait, PrimitiveArray,
        RecordBatch,
        types::{
            ArrowTimestampType, Date32Type, Float32Type, Float64Type, TimestampMicrosecondType,
            TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
        },
    },
    datatypes::{DataType, FieldRef, TimeUnit},
    error::ArrowError,
    json::{
        Encoder, EncoderFactory, EncoderOptions, WriterBuilder,
        writer::{LineDelimited, NullableEncoder, make_encoder},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::format::calendar;

/// Rows as JSON objects, a line each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonLines {
    /// All lines, each with its `\n`.
    pub bytes: Vec<u8>,
    /// Where each line ends, after its `\n`.
    pub ends: Vec<usize>,
}

impl JsonLines {
    /// The rows' objects, without line ends.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..end.saturating_sub(1)).unwrap_or_default())
    }
}

/// All rows of the batch, by one writer.
pub fn encode(batch: &RecordBatch) -> Result<JsonLines, ArrowError> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(Spelling))
        .build::<_, LineDelimited>(Vec::with_capacity(batch.num_rows() * 64));
    writer.write(batch)?;
    writer.finish()?;
    let bytes = writer.into_inner();
    // Inside a string a line end is spelled `\n`, so a bare one ends a row.
    let mut ends = Vec::with_capacity(batch.num_rows());
    ends.extend(bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
    Ok(JsonLines { bytes, ends })
}

/// Where we spell a value in another way than Arrow does: instants always in UTC with all digits of the column, dates of
/// any year, bytes in base64, and what is no number (`"NaN"`, `"Infinity"`, `"-Infinity"`, as Flink has it) never as null.
#[derive(Debug)]
struct Spelling;

/// Arrow's own spelling.
static ARROWS: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);

impl EncoderFactory for Spelling {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => Box::new(Instants(array.as_primitive::<TimestampSecondType>())),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Box::new(Instants(array.as_primitive::<TimestampMillisecondType>()))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Box::new(Instants(array.as_primitive::<TimestampMicrosecondType>()))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Box::new(Instants(array.as_primitive::<TimestampNanosecondType>()))
            }
            DataType::Binary => {
                let array: &BinaryArray = array.as_binary();
                Box::new(Blobs(array))
            }
            DataType::Date32 => Box::new(Dates(array.as_primitive::<Date32Type>())),
            DataType::Float32 => {
                let numbers = array.as_primitive::<Float32Type>();
                let Some(encoder) = numerals(numbers, field, f64::from)? else { return Ok(None) };
                encoder
            }
            DataType::Float64 => {
                let numbers = array.as_primitive::<Float64Type>();
                let Some(encoder) = numerals(numbers, field, |value| value)? else { return Ok(None) };
                encoder
            }
            DataType::LargeBinary => Box::new(Blobs(array.as_binary::<i64>())),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Instants<'a, T: ArrowTimestampType>(&'a PrimitiveArray<T>);

impl<T: ArrowTimestampType> Encoder for Instants<'_, T> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let (per_second, digits) = match T::UNIT {
            TimeUnit::Second => (1, 0),
            TimeUnit::Millisecond => (1_000, 3),
            TimeUnit::Microsecond => (1_000_000, 6),
            TimeUnit::Nanosecond => (1_000_000_000, 9),
        };
        let value = self.0.value(row);
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        out.push(b'"');
        calendar::write_instant(out, value.div_euclid(per_second), nanos as u32, digits);
        out.push(b'"');
    }
}

struct Dates<'a>(&'a PrimitiveArray<Date32Type>);

impl Encoder for Dates<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        calendar::write_date(out, i64::from(self.0.value(row)));
        out.push(b'"');
    }
}

/// Numbers with a point, some of which are none.
struct Numerals<'a, T: ArrowPrimitiveType> {
    numbers: &'a PrimitiveArray<T>,
    finite: NullableEncoder<'a>,
    double: fn(T::Native) -> f64,
}

/// `None` where all are numbers: then Arrow's own way is the shortest.
fn numerals<'a, T: ArrowPrimitiveType>(
    numbers: &'a PrimitiveArray<T>,
    field: &'a FieldRef,
    double: fn(T::Native) -> f64,
) -> Result<Option<Box<dyn Encoder + 'a>>, ArrowError> {
    if numbers.values().iter().all(|value| double(*value).is_finite()) {
        return Ok(None);
    }
    let finite = make_encoder(field, numbers, &ARROWS)?;
    Ok(Some(Box::new(Numerals { numbers, finite, double })))
}

impl<T: ArrowPrimitiveType> Encoder for Numerals<'_, T> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = (self.double)(self.numbers.value(row));
        if value.is_finite() {
            self.finite.encode(row, out);
        } else {
            let text: &[u8] = match value {
                f64::INFINITY => b"\"Infinity\"",
                f64::NEG_INFINITY => b"\"-Infinity\"",
                _ => b"\"NaN\"",
            };
            out.extend_from_slice(text);
        }
    }
}

struct Blobs<'a, O: OffsetSizeTrait>(&'a GenericBinaryArray<O>);

impl<O: OffsetSizeTrait> Encoder for Blobs<'_, O> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(STANDARD.encode(self.0.value(row)).as_bytes());
        out.push(b'"');
    }
}
