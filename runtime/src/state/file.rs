//! Files of state and of the write-ahead log: Arrow IPC files, readable by any Arrow implementation.

use std::{io::Cursor, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::FileReader, writer::FileWriter},
};
use bytes::Bytes;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use crate::{
    checkpoint::{
        manifest::FileRef,
        store::{Store, StoreError},
    },
    failure::Reason,
};

/// Bytes of a file's header and footer, and of a batch's, at a guess.
const FILE_ROOM: usize = 4096;
const BATCH_ROOM: usize = 1024;

#[derive(Debug, Error)]
pub enum FileError {
    #[error("the file `{path}` of a checkpoint is missing")]
    Missing { path: String },
    #[error("the file `{path}` of a checkpoint is damaged: its bytes are not the ones that were written")]
    Damaged { path: String },
    #[error("failed to read or write Arrow rows of a checkpoint")]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reason for FileError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } | Self::Arrow(_) => FailureReason::StateUnfit,
            Self::Store(error) => error.reason(),
        }
    }
}

/// Batches of one schema as an Arrow IPC file.
pub fn encode<'a>(schema: &SchemaRef, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Bytes, ArrowError> {
    let batches: Vec<&RecordBatch> = batches.into_iter().collect();
    // Room for the file at once: growing by doubling would need up to three times as much while it copies.
    let room = FILE_ROOM + batches.iter().map(|batch| BATCH_ROOM + batch.get_array_memory_size()).sum::<usize>();
    let mut writer = FileWriter::try_new(Vec::with_capacity(room), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(Bytes::from(writer.into_inner()?))
}

/// The batches of an Arrow IPC file, in order.
pub fn decode(bytes: Bytes) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let reader = FileReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>()?))
}

/// Reads and verifies a file of a checkpoint.
pub async fn read(store: &Arc<dyn Store>, file: &FileRef) -> Result<(SchemaRef, Vec<RecordBatch>), FileError> {
    let path = || file.path.to_string();
    let bytes = store.get(&file.path).await?.ok_or_else(|| FileError::Missing { path: path() })?;
    if !file.matches(&bytes) {
        return Err(FileError::Damaged { path: path() });
    }
    Ok(decode(bytes)?)
}
