//! What is in a chunk's file.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::cast,
    datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use bytes::Bytes;
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        reader::{FileReader, SerializedFileReader},
    },
};
use serde_json::Value;
use thiserror::Error;
use tidegate_crds::FileFormat;

use super::Chunk;
use crate::format::json;

/// Key of a Parquet file's metadata that holds the chunk's id.
const CHUNK: &str = "tidegate.chunk";
/// Key of the chunk's checksum; builds before this one did not write it.
const CHECKSUM: &str = "tidegate.checksum";

#[derive(Debug, Error)]
pub(super) enum ContentError {
    #[error("failed to encode rows as JSON")]
    Json(#[from] ArrowError),
    #[error("failed to encode rows as Parquet")]
    Parquet(#[from] ParquetError),
}

pub(super) fn encode(format: FileFormat, chunk: &Chunk) -> Result<Vec<u8>, ContentError> {
    let mut bytes = Vec::new();
    match format {
        FileFormat::JsonLines => {
            for batch in &chunk.rows {
                bytes.extend_from_slice(&json::encode(batch)?.bytes);
            }
        }
        FileFormat::Parquet => {
            let properties = WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_key_value_metadata(Some(vec![
                    KeyValue::new(CHUNK.to_owned(), chunk.id.to_string()),
                    KeyValue::new(CHECKSUM.to_owned(), chunk.checksum.clone()),
                ]))
                .build();
            let schema = known_to_parquet(&chunk.schema);
            let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties))?;
            for batch in &chunk.rows {
                let columns = batch.columns().iter().zip(schema.fields());
                let columns = columns
                    .map(|(column, field)| as_known(column, field.data_type()))
                    .collect::<Result<_, ArrowError>>()?;
                writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
            }
            writer.close()?;
        }
    }
    Ok(bytes)
}

/// Parquet has no instants of whole seconds: they would be numbers. All instants are in UTC; those that a CAST in SQL has made
/// do not say so.
fn known_to_parquet(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Timestamp(unit, zone) => {
            let unit = if *unit == TimeUnit::Second { TimeUnit::Millisecond } else { *unit };
            let zone = zone.clone().unwrap_or_else(|| "UTC".into());
            Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp(unit, Some(zone))))
        }
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// A column in the type that [`known_to_parquet`] has for it.
fn as_known(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), wanted) {
        // By way of the numbers: Arrow's cast to a zone has no instants outside of the years that its calendar has.
        (DataType::Timestamp(_, None), DataType::Timestamp(unit, Some(_))) => {
            let instants = cast(column, &DataType::Timestamp(*unit, None))?;
            cast(&cast(&instants, &DataType::Int64)?, wanted)
        }
        _ => cast(column, wanted),
    }
}

/// Whether the file is this chunk, which another version of this program may have written in other bytes than these. A
/// Parquet file says which chunk it is; JSON lines must say the same as ours.
pub(super) fn is_chunk(format: FileFormat, file: Vec<u8>, chunk: &Chunk, bytes: &[u8]) -> bool {
    match format {
        FileFormat::JsonLines => say_the_same(&file, bytes),
        FileFormat::Parquet => {
            let Ok(reader) = SerializedFileReader::new(Bytes::from(file)) else { return false };
            let metadata = reader.metadata().file_metadata().key_value_metadata();
            let value = |key: &str| metadata?.iter().find(|pair| pair.key == key)?.value.clone();
            value(CHUNK).is_some_and(|id| id == chunk.id.to_string())
                && value(CHECKSUM).is_none_or(|checksum| checksum == chunk.checksum)
        }
    }
}

/// Line by line the same values, however they are spelled.
fn say_the_same(found: &[u8], expected: &[u8]) -> bool {
    let lines = |bytes: &[u8]| -> Option<Vec<Value>> {
        serde_json::Deserializer::from_slice(bytes).into_iter().collect::<Result<_, _>>().ok()
    };
    lines(found).is_some_and(|found| Some(found) == lines(expected))
}
