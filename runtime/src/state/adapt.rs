//! Rows of a checkpoint, for an operator whose columns have changed since.
//!
//! What can be done without loss and without a guess is done: a type that became wider is cast, the order does not matter,
//! what is not asked for any more is left out, and a column that its source did not have is null in old rows. A column that
//! was there and that nobody read is another matter: rows of a checkpoint lack what their records had. Such rows, and
//! anything else, are refused with the column's name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Float64Type, SchemaRef},
    error::ArrowError,
};
use thiserror::Error;

use super::changes::{has_values_of, spoken};
use crate::graph::is_positional;

/// Below it a double has every integer; it stands for the next integer, too.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

#[derive(Debug, Error)]
pub enum Misfit {
    #[error(
        "column `{column}` is new, or computed otherwise than before, and can't be null: the checkpoint has rows without it. \
         Make it nullable, or take the change back"
    )]
    Missing { column: String },
    #[error(
        "column `{column}` is read now and was not before: the checkpoint has rows without it, which would get null, \
         whatever their records had. Take it out; or accept null in these rows by `allowNonRestoredState: true`"
    )]
    Unread { column: String },
    #[error("column `{column}` was {} and is {}; a type may become wider, not another", spoken(.found), spoken(.wanted))]
    Type { column: String, found: DataType, wanted: DataType },
    #[error("two columns are called `{column}`, and the columns have changed: nobody can tell which is which")]
    Ambiguous { column: String },
    #[error(
        "its columns are named by their places, by an earlier version of Tidegate, and have changed: nobody can tell which \
         is which"
    )]
    Positional,
    #[error(
        "the checkpoint is of an earlier version of Tidegate, which did not tell what its columns are: {found}. They are \
         {wanted} now, some of them under names that views give. Run this version with the SQL of before until it has taken \
         a checkpoint, and change it then"
    )]
    Untold { found: String, wanted: String },
    #[error("failed to convert it to {}: a value does not fit", spoken(.wanted))]
    Value {
        wanted: DataType,
        #[source]
        cause: ArrowError,
    },
    #[error("failed to give rows of a checkpoint their new columns")]
    Arrow(#[from] ArrowError),
}

/// Columns that rows of a checkpoint may lack: these are null in them. And what the others were called.
#[derive(Debug, Clone, Default)]
pub struct Lacking {
    pub columns: BTreeSet<String>,
    pub former: FormerNames,
}

/// What the columns were called in rows of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FormerNames {
    /// As they are now: they are columns of the source.
    #[default]
    AsNow,
    /// An earlier version of Tidegate did not tell what they are, and some have names that views give.
    Untold,
    /// By the name of now; `None` where no column was the same.
    Told(BTreeMap<String, Option<String>>),
}

impl FormerNames {
    fn of<'a>(&'a self, now: &'a str) -> Option<&'a str> {
        match self {
            Self::AsNow | Self::Untold => Some(now),
            Self::Told(names) => names.get(now)?.as_deref(),
        }
    }
}

impl Lacking {
    /// Whether each column is called as in the checkpoint: what it is in rows there, it is now.
    pub fn keeps_names(&self) -> bool {
        match &self.former {
            FormerNames::AsNow | FormerNames::Untold => true,
            FormerNames::Told(names) => names.iter().all(|(now, then)| then.as_ref() == Some(now)),
        }
    }
}

/// The rows with the columns of `wanted`, by name.
pub fn adapt(rows: &RecordBatch, wanted: &SchemaRef, lacking: &Lacking) -> Result<RecordBatch, Misfit> {
    let found = rows.schema();
    let is_same = found.fields().len() == wanted.fields().len()
        && found.fields().iter().zip(wanted.fields()).all(|(found, wanted)| is_alike(found, wanted, lacking));
    if is_same {
        return Ok(RecordBatch::try_new(wanted.clone(), rows.columns().to_vec())?);
    }
    if found.fields().iter().any(|field| is_positional(field.name())) {
        return Err(Misfit::Positional);
    }
    let (found_names, wanted_names) = (names(&found), names(wanted));
    if lacking.former == FormerNames::Untold && found_names != wanted_names {
        return Err(Misfit::Untold { found: found_names.join(", "), wanted: wanted_names.join(", ") });
    }
    let columns = wanted.fields().iter().map(|field| {
        let column = || field.name().clone();
        let then = lacking.former.of(field.name());
        let mut named = found.fields().iter().enumerate().filter(|(_, found)| Some(found.name().as_str()) == then);
        match (named.next(), named.next()) {
            (Some((index, _)), None) => widen(field.name(), rows.column(index), field.data_type()),
            (Some(_), Some(_)) => Err(Misfit::Ambiguous { column: column() }),
            (None, _) if !field.is_nullable() => Err(Misfit::Missing { column: column() }),
            (None, _) if lacking.columns.contains(field.name()) => {
                Ok(new_null_array(field.data_type(), rows.num_rows()))
            }
            (None, _) => Err(Misfit::Unread { column: column() }),
        }
    });
    Ok(RecordBatch::try_new(wanted.clone(), columns.collect::<Result<_, _>>()?)?)
}

/// Whether a column is the one that was written; the names of before are places.
fn is_alike(found: &Field, wanted: &Field, lacking: &Lacking) -> bool {
    let is_called = lacking.former.of(wanted.name()) == Some(found.name().as_str());
    (is_called || is_positional(found.name())) && found.data_type() == wanted.data_type()
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// A column as `wanted`, if that takes all its values.
pub fn widen(column: &str, values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Misfit> {
    let found = values.data_type();
    if found != wanted && !has_values_of(wanted, found) {
        return Err(Misfit::Type { column: column.to_owned(), found: found.clone(), wanted: wanted.clone() });
    }
    convert(column, values, wanted)
}

/// States of an aggregate as `wanted`: each value exactly, or as near as a double comes to a sum of integers.
pub fn convert(column: &str, values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType::{Decimal128, Decimal256, Float64, Int64, List};
    let found = values.data_type();
    match (found, wanted) {
        _ if found == wanted => Ok(values.clone()),
        (List(_), List(item)) => {
            let lists = values.as_list::<i32>();
            let values = convert(column, lists.values(), item.data_type())?;
            let lists = ListArray::try_new(item.clone(), lists.offsets().clone(), values, lists.nulls().cloned());
            Ok(Arc::new(lists?))
        }
        // The sum of integers that an average has: exact as long as a double has every integer.
        (Float64, Decimal128(..) | Decimal256(..)) => {
            let is_whole = |value: &f64| value.trunc().to_bits() == value.to_bits() && value.abs() < EXACT_BELOW;
            let sums = values.as_primitive::<Float64Type>();
            if let Some(sum) = sums.iter().flatten().find(|sum| !is_whole(sum)) {
                let cause = ArrowError::ComputeError(format!("{sum} is not known to be exact"));
                return Err(Misfit::Value { wanted: wanted.clone(), cause });
            }
            checked(&checked(values, &Int64)?, wanted)
        }
        (Int64, Float64 | Decimal128(..) | Decimal256(..))
        | (Decimal128(..) | Decimal256(..), Decimal128(..) | Decimal256(..)) => checked(values, wanted),
        _ if has_values_of(wanted, found) => checked(values, wanted),
        _ => Err(Misfit::Type { column: column.to_owned(), found: found.clone(), wanted: wanted.clone() }),
    }
}

/// Cast, where a value that does not fit is an error and not null.
fn checked(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Misfit> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(values, wanted, &options).map_err(|cause| Misfit::Value { wanted: wanted.clone(), cause })
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Float64Array, Int32Array, Int64Array, StringArray},
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

    fn lacking(column: &str) -> Lacking {
        Lacking { columns: [column.to_owned()].into(), ..Lacking::default() }
    }

    #[test]
    fn columns_may_move_widen_come_and_go() {
        let wanted = schema(&[("added", DataType::Utf8, true), ("id", DataType::Int64, false)]);
        let lacking = lacking("added");
        let adapted = adapt(&rows(), &wanted, &lacking).unwrap();
        assert_eq!(adapted.column(0).null_count(), 2);
        assert_eq!(adapted.column(1).as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(adapt(&rows(), &rows().schema(), &lacking).unwrap(), rows());
    }

    #[test]
    fn what_would_lose_or_guess_is_refused_by_name() {
        let cases = [
            (schema(&[("id", DataType::Int32, false), ("added", DataType::Utf8, false)]), "`added` is new"),
            (schema(&[("unread", DataType::Utf8, true)]), "`unread` is read now and was not before"),
            (schema(&[("id", DataType::Int16, false)]), "`id` was int and is Int16"),
            (schema(&[("id", DataType::Utf8, false)]), "`id` was int and is string"),
        ];
        for (wanted, told) in cases {
            let error = adapt(&rows(), &wanted, &lacking("added")).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn columns_that_are_named_by_their_places_are_taken_where_nothing_has_changed() {
        let (number, text) = (DataType::Int32, DataType::Utf8);
        let by_place = schema(&[("id", number.clone(), false), ("$1", text.clone(), true)]);
        let positional = RecordBatch::try_new(by_place, rows().columns().to_vec()).unwrap();
        let same = schema(&[("id", number.clone(), false), ("$(upper(note))", text.clone(), true)]);
        assert_eq!(adapt(&positional, &same, &Lacking::default()).unwrap().columns(), positional.columns());
        let moved = schema(&[("$(upper(note))", text, true), ("id", number, false)]);
        assert!(matches!(adapt(&positional, &moved, &Lacking::default()), Err(Misfit::Positional)));
    }

    #[test]
    fn a_column_is_found_by_what_it_was_called_and_never_by_a_name_that_another_one_had() {
        let told = |names: &[(&str, Option<&str>)]| {
            let names = names.iter().map(|(now, then)| ((*now).to_owned(), then.map(str::to_owned)));
            Lacking { former: FormerNames::Told(names.collect()), ..Lacking::default() }
        };
        let renamed = schema(&[("key", DataType::Int32, false), ("id", DataType::Utf8, true)]);
        let names = told(&[("key", Some("id")), ("id", Some("note"))]);
        assert_eq!(adapt(&rows(), &renamed, &names).unwrap().columns(), rows().columns());
        assert!(!names.keeps_names());
        let others = told(&[("id", Some("id")), ("note", None)]);
        assert!(
            matches!(adapt(&rows(), &rows().schema(), &others), Err(Misfit::Unread { .. })) && !others.keeps_names()
        );

        let untold = Lacking { former: FormerNames::Untold, ..Lacking::default() };
        assert_eq!(adapt(&rows(), &rows().schema(), &untold).unwrap(), rows());
        assert!(matches!(adapt(&rows(), &renamed, &untold), Err(Misfit::Untold { .. })));
    }

    #[test]
    fn a_sum_becomes_another_type_only_if_it_is_exact_and_fits() {
        let double = |sum: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![Some(-3.0), None, Some(sum)])) };
        let whole = |sum: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![Some(-3), None, Some(sum)])) };
        let exact = 9_007_199_254_740_991_i64;
        let cases = [
            (double(exact as f64), DataType::Decimal128(38, 2), Some(exact)),
            (double(-(exact as f64)), DataType::Decimal256(76, 2), Some(-exact)),
            // As a double, it is the next integer as well.
            (double((exact + 1) as f64), DataType::Decimal128(38, 2), None),
            (double(0.5), DataType::Decimal128(38, 2), None),
            (double(f64::INFINITY), DataType::Decimal128(38, 2), None),
            (whole(i64::MAX), DataType::Decimal128(38, 2), Some(i64::MAX)),
            (whole(1_000), DataType::Decimal128(5, 2), None),
            (whole(999), DataType::Decimal128(5, 2), Some(999)),
        ];
        for (sums, wanted, expected) in cases {
            let converted = convert("x", &sums, &wanted);
            match expected {
                Some(expected) => {
                    let found = checked(&converted.unwrap(), &DataType::Int64).unwrap();
                    assert_eq!(&found, &whole(expected), "{sums:?} as {wanted}");
                }
                None => assert!(matches!(converted, Err(Misfit::Value { .. })), "{sums:?} as {wanted}: {converted:?}"),
            }
        }
    }
}
