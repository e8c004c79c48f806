//! Which subtask a row belongs to: by the key group of its key.
//!
//! The key group is part of what is stored: state written with one parallelism is read with another by key group. So
//! the hash is fixed: XXH3 (128 bits, seed 0) of the key's columns, each as a tag byte and its value in little-endian
//! bytes, text as its length and bytes. Numbers with a point that are equal have one hash ([`canonical64`]). The key group is the low 64 bits modulo `maxParallelism`; the whole 128 bits
//! stand for the key where the key itself is not needed again (deduplication).

use arrow::{
    array::{
        Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array,
        types::{
            ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
            Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
            TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        },
    },
    compute::take_record_batch,
    datatypes::{DataType, TimeUnit},
    error::ArrowError,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    ids::SubtaskIndex,
    operator::float::{canonical32, canonical64},
};

/// A contiguous share of the key space, the unit in which state moves between subtasks.
pub fn key_group(hash: u128, max_parallelism: u32) -> u32 {
    (hash as u64 % u64::from(max_parallelism.max(1))) as u32
}

/// The subtask that a key group belongs to.
pub fn subtask_of(key_group: u32, parallelism: u32, max_parallelism: u32) -> SubtaskIndex {
    SubtaskIndex((u64::from(key_group) * u64::from(parallelism) / u64::from(max_parallelism.max(1))) as u32)
}

/// Hashes the key of every row.
pub fn hash_rows(keys: &[ArrayRef], rows: usize) -> Result<Vec<u128>, ArrowError> {
    match keys {
        [key] if key.null_count() == 0 && *key.data_type() == DataType::Int64 => {
            let hash = |value: &i64| {
                let mut bytes = [FIXED; 9];
                bytes[1..].copy_from_slice(&value.to_le_bytes());
                xxh3_128(&bytes)
            };
            Ok(key.as_primitive::<Int64Type>().values().iter().map(hash).collect())
        }
        // The common case needs no joining of columns.
        [key] => {
            let mut hashes = Vec::with_capacity(rows);
            let mut bytes = Vec::new();
            let mut write = encoder(key)?;
            for row in 0..rows {
                bytes.clear();
                write(row, &mut bytes);
                hashes.push(xxh3_128(&bytes));
            }
            Ok(hashes)
        }
        _ => {
            let mut encoders = keys.iter().map(encoder).collect::<Result<Vec<_>, _>>()?;
            let mut bytes = Vec::new();
            Ok((0..rows)
                .map(|row| {
                    bytes.clear();
                    encoders.iter_mut().for_each(|write| write(row, &mut bytes));
                    xxh3_128(&bytes)
                })
                .collect())
        }
    }
}

const NULL: u8 = 0;
const FIXED: u8 = 1;
const TEXT: u8 = 2;

type Encoder<'a> = Box<dyn FnMut(usize, &mut Vec<u8>) + 'a>;

fn encoder(column: &ArrayRef) -> Result<Encoder<'_>, ArrowError> {
    macro_rules! fixed {
        ($type:ty) => {
            fixed_encoder(column.as_primitive::<$type>(), |value, bytes| bytes.extend_from_slice(&value.to_le_bytes()))
        };
    }
    Ok(match column.data_type() {
        DataType::Int8 => fixed!(Int8Type),
        DataType::Int16 => fixed!(Int16Type),
        DataType::Int32 => fixed!(Int32Type),
        DataType::Int64 => fixed!(Int64Type),
        DataType::UInt8 => fixed!(UInt8Type),
        DataType::UInt16 => fixed!(UInt16Type),
        DataType::UInt32 => fixed!(UInt32Type),
        DataType::UInt64 => fixed!(UInt64Type),
        DataType::Float32 => fixed_encoder(column.as_primitive::<Float32Type>(), |value, bytes| {
            bytes.extend_from_slice(&canonical32(value).to_le_bytes());
        }),
        DataType::Float64 => fixed_encoder(column.as_primitive::<Float64Type>(), |value, bytes| {
            bytes.extend_from_slice(&canonical64(value).to_le_bytes());
        }),
        DataType::Date32 => fixed!(Date32Type),
        DataType::Decimal128(_, _) => fixed!(Decimal128Type),
        DataType::Timestamp(TimeUnit::Second, _) => fixed!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => fixed!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => fixed!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => fixed!(TimestampNanosecondType),
        DataType::Boolean => {
            let array = column.as_boolean();
            Box::new(move |row, bytes| {
                if array.is_null(row) {
                    bytes.push(NULL);
                } else {
                    bytes.extend_from_slice(&[FIXED, u8::from(array.value(row))]);
                }
            })
        }
        DataType::Utf8 => {
            let array = column.as_string::<i32>();
            text_encoder(column, move |row| array.value(row).as_bytes())
        }
        DataType::LargeUtf8 => {
            let array = column.as_string::<i64>();
            text_encoder(column, move |row| array.value(row).as_bytes())
        }
        DataType::Utf8View => {
            let array = column.as_string_view();
            text_encoder(column, move |row| array.value(row).as_bytes())
        }
        DataType::Binary => {
            let array = column.as_binary::<i32>();
            text_encoder(column, move |row| array.value(row))
        }
        other => return Err(ArrowError::NotYetImplemented(format!("a key of type {other}"))),
    })
}

fn fixed_encoder<'a, T: ArrowPrimitiveType>(
    array: &'a PrimitiveArray<T>,
    write: impl Fn(T::Native, &mut Vec<u8>) + 'a,
) -> Encoder<'a> {
    Box::new(move |row, bytes| {
        if array.is_null(row) {
            bytes.push(NULL);
        } else {
            bytes.push(FIXED);
            write(array.value(row), bytes);
        }
    })
}

fn text_encoder<'a>(column: &'a ArrayRef, value: impl Fn(usize) -> &'a [u8] + 'a) -> Encoder<'a> {
    Box::new(move |row, bytes| {
        if column.is_null(row) {
            bytes.push(NULL);
        } else {
            let value = value(row);
            bytes.push(TEXT);
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value);
        }
    })
}

/// Splits a batch by the subtask of each row's key. With one subtask the batch goes as it is.
pub fn split(
    batch: &RecordBatch,
    keys: &[usize],
    parallelism: u32,
    max_parallelism: u32,
) -> Result<Vec<(SubtaskIndex, RecordBatch)>, ArrowError> {
    if parallelism == 1 {
        return Ok(vec![(SubtaskIndex(0), batch.clone())]);
    }
    let columns: Vec<ArrayRef> = keys.iter().map(|key| batch.column(*key).clone()).collect();
    let mut rows_of: Vec<Vec<u32>> = vec![Vec::with_capacity(batch.num_rows()); parallelism as usize];
    for (row, hash) in hash_rows(&columns, batch.num_rows())?.into_iter().enumerate() {
        let subtask = subtask_of(key_group(hash, max_parallelism), parallelism, max_parallelism);
        if let Some(rows) = rows_of.get_mut(subtask.0 as usize) {
            rows.push(row as u32);
        }
    }
    rows_of
        .into_iter()
        .enumerate()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(subtask, rows)| {
            let part = if rows.len() == batch.num_rows() {
                batch.clone()
            } else {
                take_record_batch(batch, &UInt32Array::from(rows))?
            };
            Ok((SubtaskIndex(subtask as u32), part))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
        Int32Array, Int64Array, LargeStringArray, StringArray, StringViewArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array,
        UInt64Array, new_null_array,
    };

    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("o-1"), None, Some("")]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(0), None]));
        let hex = |keys: &[ArrayRef]| -> Vec<String> {
            hash_rows(keys, 3).unwrap().iter().map(|hash| format!("{hash:032x}")).collect()
        };
        assert_eq!(hex(std::slice::from_ref(&text)), GOLDEN_TEXT);
        assert_eq!(hex(&[text, number]), GOLDEN_BOTH);
        // Without nulls there is a shorter way to the same.
        let (plain, with_null) = (Int64Array::from(vec![7, 0, -3]), Int64Array::from(vec![Some(7), Some(0), None]));
        let (plain, with_null): (ArrayRef, ArrayRef) = (Arc::new(plain), Arc::new(with_null));
        assert_eq!(hex(&[plain])[..2], hex(&[with_null])[..2]);
    }

    /// Made with another implementation of the hash.
    const GOLDEN_TEXT: [&str; 3] =
        ["f937bf5b3bfd1059d51ef785d78a20eb", "a6cd5e9392000f6ac44bdff4074eecdb", "cf8d48b44d2ed50ec7793c3f1e0284b5"];
    const GOLDEN_BOTH: [&str; 3] =
        ["0c15213e859412e7a14915091c64897e", "5c97af378872464edced356007f48658", "4d5cf9efd787f4df478712373cfb4968"];

    /// Each made with another implementation of XXH3, of the bytes that the module's documentation says.
    #[test]
    fn the_hash_of_no_type_ever_changes() {
        const NULL: &str = "a6cd5e9392000f6ac44bdff4074eecdb";
        let text = "größe";
        let golden: [(ArrayRef, &str); 20] = [
            (Arc::new(Int8Array::from(vec![-3])), "3a98a2de53d9b01c68ce7bd558e4cf8a"),
            (Arc::new(Int16Array::from(vec![-300])), "11c75b36dfb6f29800f14688e419d1c1"),
            (Arc::new(Int32Array::from(vec![-70_000])), "81f7aaad898fcfef146c7e6e85c3653e"),
            (Arc::new(Int64Array::from(vec![-(1 << 40)])), "7755218ae796c8a99944f0ceb16cc8bb"),
            (Arc::new(UInt8Array::from(vec![200])), "3d80fc5a2c5b58a806d0d17727786eb1"),
            (Arc::new(UInt16Array::from(vec![60_000])), "be63611ff3fafd3a2c5096bcdba0bb1d"),
            (Arc::new(UInt32Array::from(vec![4_000_000_000])), "2b6ab2c54abb05c744b6a48ce70ca03f"),
            (Arc::new(UInt64Array::from(vec![1 << 63])), "beb5e5f1c46b5d34e0eb6b8f285adfb6"),
            (Arc::new(Float32Array::from(vec![1.5])), "7c3dad5a6d9694df47eb5f2081a7eabb"),
            (Arc::new(Float64Array::from(vec![-2.25])), "729beccc05c4067c790e4e2d6dc6e790"),
            (Arc::new(Date32Array::from(vec![20_000])), "cc36ce27009696f9a3c0a2c42a56396e"),
            (Arc::new(Decimal128Array::from(vec![-12_345])), "63c27a662ba4827602b9ee344442c99d"),
            (Arc::new(TimestampSecondArray::from(vec![1_700_000_000_123])), "d2fd66ab80db1c67c79249cd0886c04b"),
            (Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123])), "d2fd66ab80db1c67c79249cd0886c04b"),
            (Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_123])), "d2fd66ab80db1c67c79249cd0886c04b"),
            (Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_123])), "d2fd66ab80db1c67c79249cd0886c04b"),
            (Arc::new(BooleanArray::from(vec![true])), "50e58cbd6ada00a1070d80d6a76865f3"),
            (Arc::new(LargeStringArray::from(vec![text])), "7e858e161d8ceaae46f945b5a1d50a58"),
            (Arc::new(StringViewArray::from(vec![text])), "7e858e161d8ceaae46f945b5a1d50a58"),
            (Arc::new(BinaryArray::from(vec![&[0, 255, 16][..]])), "63e13285ae3e6bb19acb1e5dbe9aebef"),
        ];
        for (column, hash) in golden {
            let hex = |column: &ArrayRef| format!("{:032x}", hash_rows(std::slice::from_ref(column), 1).unwrap()[0]);
            assert_eq!(hex(&column), hash, "{}", column.data_type());
            assert_eq!(hex(&new_null_array(column.data_type(), 1)), NULL, "a null of {}", column.data_type());
        }
    }

    #[test]
    fn equal_numbers_have_one_hash() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.5]));
        let hashes = hash_rows(&[numbers], 5).unwrap();
        assert_eq!((hashes[0], hashes[2]), (hashes[1], hashes[3]));
        let mut bytes = vec![FIXED];
        bytes.extend_from_slice(&1.5_f64.to_le_bytes());
        assert_eq!(hashes[4], xxh3_128(&bytes), "as in state that is there already");
        let numbers: ArrayRef = Arc::new(Float32Array::from(vec![0.0, -0.0]));
        let hashes = hash_rows(&[numbers], 2).unwrap();
        assert_eq!(hashes[0], hashes[1]);
    }

    #[test]
    fn key_groups_are_spread_over_subtasks_in_order_and_evenly() {
        let owners: Vec<u32> = (0..128).map(|group| subtask_of(group, 3, 128).0).collect();
        assert!(owners.is_sorted());
        assert_eq!([0, 1, 2].map(|subtask| owners.iter().filter(|owner| **owner == subtask).count()), [43, 43, 42]);
    }

    #[test]
    fn a_split_keeps_every_row_and_sends_equal_keys_together() {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1000).map(|i| i % 37)));
        let batch = RecordBatch::try_from_iter([("k", keys)]).unwrap();
        let parts = split(&batch, &[0], 4, 128).unwrap();
        assert_eq!(parts.iter().map(|(_, part)| part.num_rows()).sum::<usize>(), 1000);
        let mut owner = std::collections::BTreeMap::new();
        for (subtask, part) in &parts {
            for key in part.column(0).as_primitive::<Int64Type>().values() {
                assert_eq!(*owner.entry(*key).or_insert(*subtask), *subtask);
            }
        }
    }
}
