//! Rows of a checkpoint, for an operator whose columns have changed since.
//!
//! What can be done without loss and without a guess is done: a new column that may be null is null in old rows, a type
//! that became wider is cast, the order does not matter, and what is not asked for any more is left out. Anything else is
//! refused, with the column's name.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    compute::cast,
    datatypes::{DataType, SchemaRef},
};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Misfit {
    #[error("column `{column}` is new and can't be null, and the checkpoint has rows without it; make it nullable")]
    Missing { column: String },
    #[error("column `{column}` was {found} and is {wanted}; a type may become wider, not another")]
    Type { column: String, found: DataType, wanted: DataType },
    #[error("two columns are called `{column}`, and the columns have changed: nobody can tell which is which")]
    Ambiguous { column: String },
    #[error("failed to give rows of a checkpoint their new columns")]
    Arrow(#[from] arrow::error::ArrowError),
}

/// The rows with the columns of `wanted`, by name.
pub fn adapt(rows: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch, Misfit> {
    let found = rows.schema();
    let alike = |(a, b): (&Arc<_>, &Arc<_>)| {
        let (a, b): (&arrow::datatypes::Field, &arrow::datatypes::Field) = (a, b);
        a.name() == b.name() && a.data_type() == b.data_type()
    };
    let is_same =
        found.fields().len() == wanted.fields().len() && found.fields().iter().zip(wanted.fields()).all(alike);
    if is_same {
        return Ok(RecordBatch::try_new(wanted.clone(), rows.columns().to_vec())?);
    }
    let columns = wanted.fields().iter().map(|field| {
        let column = || field.name().clone();
        let mut named = found.fields().iter().enumerate().filter(|(_, found)| found.name() == field.name());
        match (named.next(), named.next()) {
            (Some((index, _)), None) => widen(field.name(), rows.column(index), field.data_type()),
            (Some(_), Some(_)) => Err(Misfit::Ambiguous { column: column() }),
            (None, _) if field.is_nullable() => Ok(new_null_array(field.data_type(), rows.num_rows())),
            (None, _) => Err(Misfit::Missing { column: column() }),
        }
    });
    Ok(RecordBatch::try_new(wanted.clone(), columns.collect::<Result<_, _>>()?)?)
}

/// A column as `wanted`, if that takes all its values.
pub fn widen(column: &str, values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Misfit> {
    let found = values.data_type();
    if found == wanted {
        return Ok(values.clone());
    }
    if !is_wider(wanted, found) {
        return Err(Misfit::Type { column: column.to_owned(), found: found.clone(), wanted: wanted.clone() });
    }
    Ok(cast(values, wanted)?)
}

/// Whether every value of `narrow` has its like in `wide`.
fn is_wider(wide: &DataType, narrow: &DataType) -> bool {
    use DataType::{
        Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32, UInt64, Utf8,
        Utf8View,
    };
    match (narrow, wide) {
        (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
        | (Int16, Int32 | Int64 | Float32 | Float64)
        | (Int32, Int64 | Float64)
        | (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64 | Float32 | Float64)
        | (UInt16, UInt32 | UInt64 | Int32 | Int64 | Float32 | Float64)
        | (UInt32, UInt64 | Int64 | Float64)
        | (Float32, Float64)
        | (Utf8, LargeUtf8 | Utf8View) => true,
        // As many digits on both sides of the point.
        (Decimal128(digits, scale), Decimal128(more, finer)) => {
            finer >= scale && i16::from(*more) - i16::from(*finer) >= i16::from(*digits) - i16::from(*scale)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Int32Array, StringArray},
        datatypes::{Field, Int64Type, Schema},
    };

    use super::*;

    fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
        let field = |(name, kind, nullable): &(&str, DataType, bool)| Field::new(*name, kind.clone(), *nullable);
        Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
    }

    fn rows() -> RecordBatch {
        let schema = schema(&[("id", DataType::Int32, false), ("note", DataType::Utf8, true)]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["a", "b"]))];
        RecordBatch::try_new(schema, columns).unwrap()
    }

    #[test]
    fn columns_may_move_widen_come_and_go() {
        let wanted = schema(&[("added", DataType::Utf8, true), ("id", DataType::Int64, false)]);
        let adapted = adapt(&rows(), &wanted).unwrap();
        assert_eq!(adapted.column(0).null_count(), 2);
        assert_eq!(adapted.column(1).as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(adapt(&rows(), &rows().schema()).unwrap(), rows());
    }

    #[test]
    fn what_would_lose_or_guess_is_refused_by_name() {
        let cases = [
            (schema(&[("id", DataType::Int32, false), ("added", DataType::Utf8, false)]), "`added` is new"),
            (schema(&[("id", DataType::Int16, false)]), "`id` was Int32 and is Int16"),
            (schema(&[("id", DataType::Utf8, false)]), "`id` was Int32 and is Utf8"),
        ];
        for (wanted, told) in cases {
            let error = adapt(&rows(), &wanted).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_decimal_is_wider_with_no_fewer_digits_on_either_side() {
        let decimal = DataType::Decimal128;
        assert!(is_wider(&decimal(12, 2), &decimal(10, 2)) && is_wider(&decimal(12, 4), &decimal(10, 2)));
        assert!(!is_wider(&decimal(10, 4), &decimal(10, 2)) && !is_wider(&decimal(12, 1), &decimal(10, 2)));
    }
}
