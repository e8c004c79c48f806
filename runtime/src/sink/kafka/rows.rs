//! Rows as the records of a topic: a JSON object ([`crate::format::json`]), and a key where columns are named for it.

use arrow::{
    array::RecordBatch,
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::format::json::{JsonLines, encode};

/// Of timestamps in keys; without a time zone they are in UTC.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// A batch as records.
pub(super) struct Records {
    lines: JsonLines,
    keys: Option<Keys>,
}

#[derive(Default)]
struct Keys {
    text: String,
    ends: Vec<usize>,
}

impl Records {
    /// Encodes the whole batch in one go. A column of `key` that is missing is an error.
    pub(super) fn new(batch: &RecordBatch, key: &[String]) -> Result<Self, ArrowError> {
        let keys = if key.is_empty() { None } else { Some(Keys::new(batch, key)?) };
        Ok(Self { lines: encode(batch)?, keys })
    }

    /// Key and value of each row.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&[u8]>, &[u8])> {
        self.lines.rows().enumerate().map(|(row, line)| (self.keys.as_ref().and_then(|keys| keys.get(row)), line))
    }
}

impl Keys {
    fn new(batch: &RecordBatch, columns: &[String]) -> Result<Self, ArrowError> {
        let options = FormatOptions::new().with_null("").with_timestamp_format(Some(TIMESTAMP));
        let formatters = columns
            .iter()
            .map(|name| {
                let column = batch
                    .column_by_name(name)
                    .ok_or_else(|| ArrowError::SchemaError(format!("there is no column `{name}` for the key")))?;
                ArrayFormatter::try_new(column.as_ref(), &options)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut keys = Self::default();
        for row in 0..batch.num_rows() {
            for (index, formatter) in formatters.iter().enumerate() {
                if index > 0 {
                    keys.text.push('|');
                }
                match formatter.value(row).try_to_string() {
                    Ok(text) => keys.text.push_str(&text),
                    // A date beyond the formatter's calendar.
                    Err(_) => keys.text.push_str(&spelled(batch, row, columns.get(index).map_or("", String::as_str))?),
                }
            }
            keys.ends.push(keys.text.len());
        }
        Ok(keys)
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        let end = *self.ends.get(row)?;
        let begin = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.text.as_bytes().get(begin..end)
    }
}

/// A value as it stands in the row's object.
fn spelled(batch: &RecordBatch, row: usize, column: &str) -> Result<String, ArrowError> {
    let index = batch.schema().index_of(column)?;
    let lines = encode(&batch.slice(row, 1).project(&[index])?)?;
    let object = lines.rows().next().map(String::from_utf8_lossy).unwrap_or_default();
    let value = object.split_once("\":").map_or("", |(_, value)| value).trim_end_matches('}');
    Ok(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
            TimestampMillisecondArray,
        },
        datatypes::DataType,
    };

    use super::*;

    fn batch() -> RecordBatch {
        let decimal = Decimal128Array::from(vec![Some(1), None, Some(-12_345_678_901_234_567_890_123_456_789_012)])
            .with_precision_and_scale(38, 2)
            .unwrap();
        assert!(matches!(decimal.data_type(), &DataType::Decimal128(..)));
        let columns: [(&str, ArrayRef); 5] = [
            ("name", Arc::new(StringArray::from(vec![Some("a\nb\"|"), Some("é"), None]))),
            ("store", Arc::new(Int64Array::from(vec![i64::MAX, -2, 3]))),
            ("amount", Arc::new(decimal)),
            ("at", Arc::new(TimestampMillisecondArray::from(vec![Some(0), Some(1_767_225_600_123), None]))),
            ("ratio", Arc::new(Float64Array::from(vec![0.1, 1e300, f64::NAN]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
    }

    #[test]
    fn a_row_is_one_exact_json_object() {
        let records = Records::new(&batch(), &[]).unwrap();
        let lines: Vec<&str> =
            records.iter().map(|(key, line)| (key.is_none(), std::str::from_utf8(line).unwrap()).1).collect();
        assert_eq!(
            lines,
            [
                r#"{"name":"a\nb\"|","store":9223372036854775807,"amount":0.01,"at":"1970-01-01T00:00:00.000Z","ratio":0.1}"#,
                r#"{"name":"é","store":-2,"amount":null,"at":"2026-01-01T00:00:00.123Z","ratio":1.0e300}"#,
                r#"{"name":null,"store":3,"amount":-123456789012345678901234567890.12,"at":null,"ratio":"NaN"}"#,
            ]
        );
    }

    #[test]
    fn a_timestamp_with_a_zone_is_told_in_utc() {
        let at = TimestampMillisecondArray::from(vec![0]).with_timezone("+00:00");
        let batch = RecordBatch::try_from_iter([("at", Arc::new(at) as ArrayRef)]).unwrap();
        let records = Records::new(&batch, &["at".into()]).unwrap();
        let (key, line) = records.iter().next().unwrap();
        assert_eq!(line, br#"{"at":"1970-01-01T00:00:00.000Z"}"#);
        assert_eq!(key.unwrap(), b"1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_key_is_its_columns_joined() {
        let records = Records::new(&batch(), &["store".into(), "at".into(), "amount".into()]).unwrap();
        let keys: Vec<&str> = records.iter().map(|(key, _)| std::str::from_utf8(key.unwrap()).unwrap()).collect();
        assert_eq!(
            keys,
            [
                "9223372036854775807|1970-01-01T00:00:00Z|0.01",
                "-2|2026-01-01T00:00:00.123Z|",
                "3||-123456789012345678901234567890.12",
            ]
        );
        assert!(Records::new(&batch(), &["shop".into()]).is_err());
    }

    #[test]
    fn a_date_beyond_the_calendar_is_a_key_like_another() {
        let days: ArrayRef = Arc::new(Date32Array::from(vec![0, i32::MAX]));
        let batch = RecordBatch::try_from_iter([("day", days)]).unwrap();
        let records = Records::new(&batch, &["day".into()]).unwrap();
        let keys: Vec<&str> = records.iter().map(|(key, _)| std::str::from_utf8(key.unwrap()).unwrap()).collect();
        assert_eq!(keys, ["1970-01-01", "+5881580-07-11"]);
    }
}
