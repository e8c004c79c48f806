//! From rows as operators write them to columns that people read.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringBuilder, TimestampMillisecondArray, UInt32Array},
    compute::cast,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use serde::Deserialize;

use super::{
    error::QueryError,
    names::{Names, plain},
    tables::Collection,
};
use crate::{checkpoint::manifest::OperatorState, operator::deduplicate::all_keys};

/// How a collection of one operator is shown.
#[derive(Debug, Clone)]
pub enum Shape {
    Keys,
    /// The rows themselves, with these columns.
    Rows(SchemaRef),
    /// Of windows of so many milliseconds, if the checkpoint says.
    Partials {
        size_ms: Option<i64>,
        schema: SchemaRef,
    },
}

/// What a window aggregate says of its partial results.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    size_ms: Option<i64>,
    #[serde(default)]
    aggregates: Vec<Aggregate>,
}

#[derive(Debug, Deserialize)]
struct Aggregate {
    computes: String,
    states: usize,
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn fields(first: &[(&str, DataType)]) -> (Vec<Field>, Names) {
    let mut names = Names::default();
    let fields = first.iter().map(|(name, kind)| Field::new(names.give(name), kind.clone(), true)).collect();
    (fields, names)
}

/// Of a table of keys.
pub fn keys_schema() -> SchemaRef {
    let columns = [("subtask", DataType::UInt32), ("key_hash", DataType::Utf8), ("time", instant())];
    Arc::new(Schema::new(fields(&columns).0))
}

/// Rows of a table of keys.
pub fn keys(subtask: u32, keys: &[(u128, i64)]) -> Result<RecordBatch, QueryError> {
    let mut hashes = StringBuilder::with_capacity(keys.len(), keys.len() * 32);
    for (hash, _) in keys {
        // Writing to memory does not fail.
        let _written = write!(hashes, "{hash:032x}");
        hashes.append_value("");
    }
    let times = TimestampMillisecondArray::from_iter_values(keys.iter().map(|(_, time)| *time)).with_timezone("UTC");
    let subtasks: ArrayRef = Arc::new(UInt32Array::from_value(subtask, keys.len()));
    Ok(RecordBatch::try_new(keys_schema(), vec![subtasks, Arc::new(hashes.finish()), Arc::new(times)])?)
}

impl Shape {
    /// For parts whose rows have the columns `found`.
    pub fn of(operator: &OperatorState, collection: Collection, found: &Schema) -> Result<Self, QueryError> {
        Ok(match collection {
            Collection::Keys => Self::Keys,
            Collection::Waiting | Collection::InFlight => {
                let (mut columns, mut names) = fields(&[("subtask", DataType::UInt32)]);
                columns.extend(found.fields().iter().map(|field| shown(&mut names, field.name(), field)));
                Self::Rows(Arc::new(Schema::new(columns)))
            }
            Collection::Partials => {
                let value = operator.subtasks.first().map(|subtask| &subtask.value).filter(|value| !value.is_null());
                let described = value.map(Described::deserialize).transpose().map_err(|error| QueryError::Damaged {
                    file: "manifest.json".to_owned(),
                    found: format!(
                        "describes the aggregates of `{}` in a way that can't be read: {error}",
                        operator.id
                    ),
                })?;
                partials(&described.unwrap_or_default(), found)
            }
        })
    }

    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::Keys => keys_schema(),
            Self::Rows(schema) | Self::Partials { schema, .. } => schema.clone(),
        }
    }

    /// The rows of a part.
    pub fn rows(&self, subtask: u32, part: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let subtasks: ArrayRef = Arc::new(UInt32Array::from_value(subtask, part.num_rows()));
        match self {
            Self::Keys => keys(subtask, &all_keys(part).collect::<Vec<_>>()),
            Self::Rows(schema) => table(schema, std::iter::once(subtasks).chain(part.columns().iter().cloned())),
            Self::Partials { size_ms, schema } => {
                let starts = part.columns().first().and_then(|starts| starts.as_primitive_opt::<Int64Type>());
                let unknown = || ArrowError::SchemaError("partial results without their window's start".to_owned());
                let starts = starts.ok_or_else(unknown)?;
                let start: TimestampMillisecondArray = starts.reinterpret_cast();
                let end: TimestampMillisecondArray = match size_ms {
                    Some(size) => starts.unary(|start| start.saturating_add(*size)),
                    None => TimestampMillisecondArray::new_null(part.num_rows()),
                };
                let first: [ArrayRef; 3] = [subtasks, Arc::new(start), Arc::new(end)];
                table(schema, first.into_iter().chain(part.columns().iter().skip(1).cloned()))
            }
        }
    }
}

/// A column as it was, under a name that is not taken.
fn shown(names: &mut Names, name: &str, field: &Field) -> Field {
    Field::new(names.give(name), field.data_type().clone(), true)
}

fn partials(described: &Described, found: &Schema) -> Shape {
    let (mut columns, mut names) =
        fields(&[("subtask", DataType::UInt32), ("window_start", instant()), ("window_end", instant())]);
    let states: usize = described.aggregates.iter().map(|aggregate| aggregate.states).sum();
    let keys = found.fields().len().saturating_sub(1 + states);
    let mut rest = found.fields().iter().skip(1);
    columns.extend(rest.by_ref().take(keys).map(|key| shown(&mut names, key.name(), key)));
    for aggregate in &described.aggregates {
        // `count(*)`, as the planner has it.
        let computes = if aggregate.computes == "count(1)" { "count" } else { aggregate.computes.as_str() };
        for state in rest.by_ref().take(aggregate.states) {
            let name = match state.name().rsplit_once('[') {
                Some((_, what)) if aggregate.states > 1 => plain(&format!("{computes} {what}")),
                _ => plain(computes),
            };
            columns.push(shown(&mut names, &name, state));
        }
    }
    Shape::Partials { size_ms: described.size_ms, schema: Arc::new(Schema::new(columns)) }
}

/// Columns under the names and types that the table has.
fn table(schema: &SchemaRef, columns: impl Iterator<Item = ArrayRef>) -> Result<RecordBatch, QueryError> {
    let columns = columns.zip(schema.fields()).map(|(column, field)| cast(&column, field.data_type()));
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)?)
}
