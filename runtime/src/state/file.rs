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

use super::{
    bytes_of,
    local::{LocalError, Scratch},
};
use crate::{
    checkpoint::{
        manifest::FileRef,
        pack::{Life, Packer},
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
    #[error("the file `{path}` of a checkpoint is damaged: {found} bytes are there of {written} that were written")]
    Length { path: String, found: u64, written: u64 },
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
            Self::Missing { .. } | Self::Damaged { .. } | Self::Length { .. } | Self::Arrow(_) => {
                FailureReason::StateUnfit
            }
            Self::Local(error) => error.reason(),
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

/// Writes batches of one schema, when there is room in memory for them as a file: one of their own, or a piece of a shared
/// one.
pub async fn write<'a>(
    packer: &Packer,
    life: Life,
    path: ObjectPath,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = &'a RecordBatch>,
) -> Result<FileRef, FileError> {
    let batches: Vec<&RecordBatch> = batches.into_iter().collect();
    let _room = packer.room(batches.iter().map(|batch| bytes_of(batch)).sum()).await;
    Ok(packer.put(life, path, encode(schema, batches)?).await?)
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
    let path = || file.to_string();
    let bytes = file.get(store.as_ref()).await?.ok_or_else(|| FileError::Missing { path: path() })?;
    let found = bytes.len() as u64;
    if found != file.bytes {
        return Err(FileError::Length { path: path(), found, written: file.bytes });
    }
    if !file.matches(&bytes) {
        return Err(FileError::Damaged { path: path() });
    }
    Ok(bytes)
}

/// An Arrow IPC file of a checkpoint on the local disk, whose batches are read one at a time.
#[derive(Debug)]
pub struct LocalRows {
    /// Of the file, or piece, in the checkpoint storage.
    pub name: FileRef,
    pub path: PathBuf,
    /// What the file is in.
    pub folder: Arc<Scratch>,
}

impl LocalRows {
    pub fn batch(&self, index: u32) -> Result<RecordBatch, FileError> {
        let damaged = || FileError::Damaged { path: self.name.to_string() };
        let opened = File::open(&self.path).map_err(LocalError::at("open", &self.path))?;
        let mut reader = FileReader::try_new(opened, None).map_err(|error| self.failed(error))?;
        reader.set_index(index as usize).map_err(|_| damaged())?;
        reader.next().ok_or_else(damaged)?.map_err(|error| self.failed(error))
    }

    /// What the disk did is no damage of the checkpoint.
    fn failed(&self, error: ArrowError) -> FileError {
        match error {
            ArrowError::IoError(_, cause) => LocalError::at("read", &self.path)(cause).into(),
            other => other.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::store::{ObjectPath, memory::MemoryStore};

    #[tokio::test]
    async fn a_piece_is_read_alone_and_one_that_its_file_does_not_have_is_told_of() {
        let memory = MemoryStore::new();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let piece = FileRef { offset: Some(4), ..FileRef::of(ObjectPath("data/shared".into()), b"mine") };
        for (found, expected) in [
            ("theirsmine", Err("is damaged: its bytes are not")),
            ("themmineandmore", Ok("mine")),
            ("themmin", Err("`data/shared[4..8]` of a checkpoint is damaged: 3 bytes are there of 4")),
            ("th", Err("0 bytes are there of 4")),
        ] {
            memory.plant("data/shared", found);
            match (fetch(&store, &piece).await, expected) {
                (Ok(bytes), Ok(expected)) => assert_eq!(bytes, expected, "{found}"),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{found}: {error}"),
                other => panic!("{found}: {other:?}"),
            }
        }
        memory.remove("data/shared");
        assert!(fetch(&store, &piece).await.unwrap_err().to_string().contains("`data/shared[4..8]`"));
    }
}
