//! Files of state and of the write-ahead log: Arrow IPC files, readable by any Arrow implementation.

use std::{fs::File, io::Cursor, path::PathBuf, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::FileReader, writer::FileWriter},
};
use bytes::Bytes;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::local::{LocalError, Scratch};
use crate::{
    checkpoint::{
        manifest::FileRef,
        store::{ObjectPath, Store, StoreError},
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
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl Reason for FileError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } | Self::Arrow(_) => FailureReason::StateUnfit,
            Self::Local(_) => FailureReason::TaskFailed,
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
    Ok(decode(fetch(store, file).await?)?)
}

/// The bytes of a file of a checkpoint, verified.
pub async fn fetch(store: &Arc<dyn Store>, file: &FileRef) -> Result<Bytes, FileError> {
    let path = || file.path.to_string();
    let bytes = store.get(&file.path).await?.ok_or_else(|| FileError::Missing { path: path() })?;
    if !file.matches(&bytes) {
        return Err(FileError::Damaged { path: path() });
    }
    Ok(bytes)
}

/// An Arrow IPC file of a checkpoint on the local disk, whose batches are read one at a time.
#[derive(Debug)]
pub struct LocalRows {
    /// Of the file in the checkpoint storage.
    pub name: ObjectPath,
    pub path: PathBuf,
    /// What the file is in.
    pub folder: Arc<Scratch>,
}

impl LocalRows {
    pub fn batch(&self, index: u32) -> Result<RecordBatch, FileError> {
        let damaged = || FileError::Damaged { path: self.name.to_string() };
        let opened = File::open(&self.path).map_err(LocalError::at("open", &self.path))?;
        let mut reader = FileReader::try_new(opened, None)?;
        reader.set_index(index as usize).map_err(|_| damaged())?;
        Ok(reader.next().ok_or_else(damaged)??)
    }
}
