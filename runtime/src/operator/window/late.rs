//! Late records as rows of a sink of their own.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use datafusion_common::Result;

use crate::{
    format::json::encode,
    graph::{computed_name, is_computed},
    words,
};

/// Makes rows of late records and the ends of the windows they came too late for.
pub type LateEncoder = Box<dyn Fn(&RecordBatch, &Int64Array) -> Result<RecordBatch> + Send>;

/// Columns of the sink that takes late records.
pub fn late_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("window_end", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
        Field::new("record", DataType::Utf8, false),
    ]))
}

/// Encodes a record as what its window reads, as JSON: columns of the source, and what was computed of others. So there is all
/// that a total lacks.
pub fn late_encoder(source: String) -> LateEncoder {
    Box::new(move |rows, window_ends| {
        let lines = encode(&told(rows)?)?;
        let ends: TimestampMillisecondArray = window_ends.unary(|end| end);
        let columns: [ArrayRef; 3] = [
            Arc::new(StringArray::from_iter_values(lines.ends.iter().map(|_| &source))),
            Arc::new(ends.with_timezone("UTC")),
            Arc::new(StringArray::from_iter_values(lines.rows().map(String::from_utf8_lossy))),
        ];
        Ok(RecordBatch::try_new(late_schema(), columns.to_vec())?)
    })
}

/// Without the columns that are others of another type, and with expressions as a user writes them.
fn told(rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let is_cast = |cast: &Field| {
        let of = |field: &Field| computed_name(&format!("CAST({} AS {})", field.name(), cast.data_type()));
        schema.fields().iter().any(|field| of(field) == *cast.name())
    };
    let told: Vec<usize> = (0..rows.num_columns()).filter(|index| !is_cast(schema.field(*index))).collect();
    let named = told.iter().map(|index| {
        let field = schema.field(*index);
        let name = if is_computed(field.name()) { words::plain(field.name()) } else { field.name().clone() };
        field.clone().with_name(name)
    });
    let columns = told.iter().map(|index| rows.column(*index).clone()).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(named.collect::<Vec<_>>())), columns)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array};

    use super::*;

    #[test]
    fn a_late_record_has_all_that_a_total_lacks_and_nothing_twice() {
        let amount: ArrayRef = Arc::new(Int64Array::from(vec![3]));
        let double: ArrayRef = Arc::new(Float64Array::from(vec![3.0]));
        let names = ["amount", "$(CAST(amount AS Float64))", "$(CAST(price AS Float64) * CAST(count AS Float64))"];
        let rows = RecordBatch::try_from_iter(names.into_iter().zip([amount, double.clone(), double])).unwrap();
        let late = late_encoder("orders".into())(&rows, &Int64Array::from(vec![60_000])).unwrap();
        let record = late.column(2).as_string::<i32>().value(0);
        assert_eq!(record, r#"{"amount":3,"$(CAST(price AS double) * CAST(count AS double))":3.0}"#);
    }
}
