//! Late records as rows of a sink of their own.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use datafusion_common::Result;

use crate::{format::json::encode, graph::is_computed};

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

/// Encodes a record as the source's columns that its window reads, as JSON; what was computed of them is left out.
pub fn late_encoder(source: String) -> LateEncoder {
    Box::new(move |rows, window_ends| {
        let schema = rows.schema();
        let own: Vec<usize> =
            (0..rows.num_columns()).filter(|index| !is_computed(schema.field(*index).name())).collect();
        let lines = encode(&rows.project(&own)?)?;
        let ends: TimestampMillisecondArray = window_ends.unary(|end| end);
        let columns: [ArrayRef; 3] = [
            Arc::new(StringArray::from_iter_values(lines.ends.iter().map(|_| &source))),
            Arc::new(ends.with_timezone("UTC")),
            Arc::new(StringArray::from_iter_values(lines.rows().map(String::from_utf8_lossy))),
        ];
        Ok(RecordBatch::try_new(late_schema(), columns.to_vec())?)
    })
}
