//! Files in a folder, one a chunk, each complete when it appears.
//!
//! A chunk's file has a name made of the chunk's id, is written under another name, made durable, and then linked to its
//! own, which fails when that is taken: so a chunk that was published before, by whomever, is found and left alone. What
//! is found must be that chunk: a file of another job in the same folder is refused, not mistaken for our own.

mod content;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidegate_crds::{FileFormat, FilesSink};

use super::{Chunk, ChunkId, Publisher, SinkError};
use crate::{checkpoint::CommitPermit, env, fault};

/// JSON lines or Parquet in a folder.
#[derive(Debug, Clone)]
pub struct FilesPublisher {
    sink: String,
    folder: PathBuf,
    format: FileFormat,
}

impl FilesPublisher {
    /// `sink` is the sink's name in the document.
    pub fn new(sink: &str, spec: &FilesSink) -> Self {
        Self { sink: sink.to_owned(), folder: PathBuf::from(&spec.path), format: spec.format }
    }

    /// The name of a chunk's file: `<sink>-<slot>-<epoch>-<index>.jsonl`, in order by name.
    pub fn file_name(&self, id: &ChunkId) -> String {
        let extension = match self.format {
            FileFormat::JsonLines => "jsonl",
            FileFormat::Parquet => "parquet",
        };
        let ChunkId { sink, slot, epoch, index, .. } = id;
        format!("{sink}-{slot:04}-{:010}-{index:04}.{extension}", epoch.0)
    }

    fn failed(&self, action: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
        SinkError::Failed { sink: self.sink.clone(), action, cause: cause.into() }
    }

    fn refused(&self, message: String) -> SinkError {
        SinkError::Refused { sink: self.sink.clone(), message }
    }

    fn publish_now(&self, chunk: &Chunk) -> Result<(), SinkError> {
        let target = self.folder.join(self.file_name(&chunk.id));
        let bytes = content::encode(self.format, chunk)
            .map_err(|error| self.failed(format!("encode chunk {}", chunk.id), error))?;
        let created = create(&self.folder, &target, &bytes)
            .map_err(|error| self.failed(format!("write file `{}`", target.display()), error))?;
        if created || self.is_ours(&target, chunk, &bytes)? {
            return Ok(());
        }
        Err(self.refused(format!(
            "file `{}` is there and is not chunk {} of this job; give each job a folder of its own, or empty this one",
            target.display(),
            chunk.id
        )))
    }

    fn is_ours(&self, target: &Path, chunk: &Chunk, bytes: &[u8]) -> Result<bool, SinkError> {
        let found =
            fs::read(target).map_err(|error| self.failed(format!("read file `{}`", target.display()), error))?;
        Ok(found == bytes || content::names_chunk(self.format, found, &chunk.id))
    }
}

#[async_trait]
impl Publisher for FilesPublisher {
    async fn preflight(&self, _schema: &SchemaRef, _slots: u32) -> Result<(), SinkError> {
        let this = self.clone();
        blocking(move || {
            let probe = this.folder.join(format!(".{}", env::unique_id()));
            let tried = fs::create_dir_all(&this.folder)
                .and_then(|()| File::create_new(&probe))
                .and_then(|_| fs::remove_file(&probe));
            tried.map_err(|error| {
                this.refused(format!(
                    "path `{}` is not a folder this process can write to: {error}",
                    this.folder.display()
                ))
            })
        })
        .await
    }

    async fn publish(&self, _permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        if chunk.id.index > 0 {
            fault::reach("files-between-chunks");
        }
        let (this, chunk) = (self.clone(), chunk.clone());
        blocking(move || this.publish_now(&chunk)).await
    }
}

/// File work blocks, so it is done on the runtime's threads for that.
async fn blocking(work: impl FnOnce() -> Result<(), SinkError> + Send + 'static) -> Result<(), SinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SinkError::Failed {
            sink: String::new(),
            action: "finish file work before the end of the process".to_owned(),
            cause: error.into(),
        }),
    }
}

/// Whether the file is new; it is durable either way.
fn create(folder: &Path, target: &Path, bytes: &[u8]) -> io::Result<bool> {
    let temporary = folder.join(format!(".{}", env::unique_id()));
    let mut file = File::create_new(&temporary)?;
    let result =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| match fs::hard_link(&temporary, target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        });
    fs::remove_file(&temporary)?;
    let created = result?;
    File::open(folder)?.sync_all()?;
    Ok(created)
}
