//! What is in a chunk's file.

use std::sync::Arc;

use arrow::error::ArrowError;
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
use thiserror::Error;
use tidegate_crds::FileFormat;

use super::{Chunk, ChunkId};
use crate::format::json;

/// Key of a Parquet file's metadata that holds the chunk's id.
const CHUNK: &str = "tidegate.chunk";

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
                .set_key_value_metadata(Some(vec![KeyValue::new(CHUNK.to_owned(), chunk.id.to_string())]))
                .build();
            let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&chunk.schema), Some(properties))?;
            for batch in &chunk.rows {
                writer.write(batch)?;
            }
            writer.close()?;
        }
    }
    Ok(bytes)
}

/// Whether the file says that it is this chunk: another version of this program may have written the same rows in other
/// bytes. JSON lines say nothing of the kind; theirs are compared.
pub(super) fn names_chunk(format: FileFormat, file: Vec<u8>, id: &ChunkId) -> bool {
    if format == FileFormat::JsonLines {
        return false;
    }
    let Ok(reader) = SerializedFileReader::new(Bytes::from(file)) else { return false };
    let named = reader.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    named.filter(|pair| pair.key == CHUNK).any(|pair| pair.value.as_deref() == Some(&id.to_string()))
}
