//! A chunk as blocks: what a deduplication token counts for.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{cast, concat_batches},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::StreamWriter,
};
use bytes::Bytes;

use super::super::Chunk;

/// Most rows of one insert; well below the server's `max_insert_block_size` (1,048,449). A part of the protocol: a
/// repeat by a later version must cut a chunk at the same rows, so it never changes.
pub(super) const ROWS: usize = 200_000;

/// The inserts of a chunk, each with its token: `<chunk id>`, or `<chunk id>#<n>` when there are several. Cut by rows
/// alone, so the same however the chunk is cut into batches.
pub(super) fn cut(chunk: &Chunk) -> Vec<(String, Vec<RecordBatch>)> {
    let mut pieces: Vec<Vec<RecordBatch>> = Vec::new();
    let mut room = 0;
    for batch in &chunk.rows {
        let mut from = 0;
        while from < batch.num_rows() {
            if room == 0 {
                pieces.push(Vec::new());
                room = ROWS;
            }
            let rows = room.min(batch.num_rows() - from);
            if let Some(piece) = pieces.last_mut() {
                piece.push(batch.slice(from, rows));
            }
            from += rows;
            room -= rows;
        }
    }
    let single = pieces.len() == 1;
    let token = |nth: usize| if single { chunk.id.to_string() } else { format!("{}#{nth}", chunk.id) };
    pieces.into_iter().enumerate().map(|(nth, piece)| (token(nth), piece)).collect()
}

/// The rows as one record batch of an Arrow stream, hence one block.
pub(super) fn encode(rows: &[RecordBatch], schema: &SchemaRef) -> Result<Bytes, ArrowError> {
    let block = concat_batches(schema, rows)?;
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = block
        .schema_ref()
        .fields()
        .iter()
        .zip(block.columns())
        .map(|(field, column)| {
            let kind = plain(field.data_type());
            Ok((Field::new(field.name(), kind.clone(), field.is_nullable()), cast(column, &kind)?))
        })
        .collect::<Result<Vec<_>, ArrowError>>()?
        .into_iter()
        .unzip();
    let schema = Arc::new(Schema::new(fields));
    let mut stream = Vec::with_capacity(block.get_array_memory_size());
    let mut writer = StreamWriter::try_new(&mut stream, &schema)?;
    writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    writer.finish()?;
    drop(writer);
    Ok(stream.into())
}

/// The plain layout of a type: servers read views and dictionaries only since lately.
fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        other => other.clone(),
    }
}
