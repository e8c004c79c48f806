//! Files in a folder, one a chunk, each complete when it appears.
//!
//! A chunk's file has a name made of the chunk's id, is written under another name, made durable, and then linked to its
//! own, which fails when that is taken: so a chunk that was published before, by whomever, is found and left alone. The
//! lineage is part of the name, so jobs may share a folder, and one that begins anew begins under other names. What is
//! found must be that chunk all the same: a checkpoint store that was restored from a backup makes epochs come again with
//! other rows under the same ids. Builds before this one left the lineage out; what is there under such a name, and is the
//! chunk, is published.
//!
//! Who is killed while it writes leaves the other name behind. It says whose attempt it was; an attempt that takes the job
//! over deletes those of earlier ones. One of them may still be writing, and finds its file gone when it wants to link it:
//! it writes it anew, and by then the chunk is there, or nobody else has it.

mod content;
mod folder;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidegate_crds::{FileFormat, FilesSink};

use self::folder::{Folder, Name};
use super::{Chunk, Preflight, Publisher, SinkError};
use crate::{
    checkpoint::{CommitPermit, PermitError, destination::Destination},
    fault,
    ids::{Attempt, Epoch},
};

/// JSON lines or Parquet in a folder.
#[derive(Debug, Clone)]
pub struct FilesPublisher {
    sink: String,
    folder: Folder,
    format: FileFormat,
}

impl FilesPublisher {
    /// `sink` is the sink's name in the document.
    pub fn new(sink: &str, spec: &FilesSink) -> Self {
        Self { sink: sink.to_owned(), folder: Folder(PathBuf::from(&spec.path)), format: spec.format }
    }

    fn failed(&self, action: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
        SinkError::Failed { sink: self.sink.clone(), action, cause: cause.into() }
    }

    fn refused(&self, message: String) -> SinkError {
        SinkError::Refused { sink: self.sink.clone(), message }
    }

    fn publish_now(&self, chunk: &Chunk, temporary: &str) -> Result<(), SinkError> {
        let bytes = content::encode(self.format, chunk)
            .map_err(|error| self.failed(format!("encode chunk {}", chunk.id), error))?;
        let former = self.folder.0.join(folder::former_name(&chunk.id, self.format));
        if self.is_there(&former, chunk, &bytes, "under the name that earlier versions gave it")? {
            return Ok(());
        }
        let target = self.folder.0.join(Name::of(&chunk.id).in_format(self.format));
        let created = self.folder.create(&target, temporary, &bytes);
        let created = created.map_err(|error| self.failed(format!("write file `{}`", target.display()), error))?;
        if !created {
            self.is_there(&target, chunk, &bytes, "under its name")?;
        }
        Ok(())
    }

    /// Whether there is a file, which must be the chunk.
    fn is_there(&self, path: &Path, chunk: &Chunk, bytes: &[u8], whence: &str) -> Result<bool, SinkError> {
        let read = folder::read(path).map_err(|error| self.failed(format!("read file `{}`", path.display()), error))?;
        let Some(found) = read else { return Ok(false) };
        if found == bytes || content::is_chunk(self.format, found, chunk, bytes) {
            return Ok(true);
        }
        Err(self.refused(format!(
            "file `{}` is there {whence}, and does not hold chunk {} of this job. If it is another job's, give each job a \
             folder of its own; if the checkpoints were restored from a backup, bring the newest back; else move it away",
            path.display(),
            chunk.id
        )))
    }

    /// Deletes what attempts before this one left half written. Gives the newest epoch of the lineage, if it is beyond `owned`.
    fn look(&self, lineage: &str, attempt: Attempt, owned: Epoch) -> Result<Option<Epoch>, SinkError> {
        let looked = self.folder.look(&self.sink, lineage, attempt);
        let looked = looked.map_err(|error| self.failed(format!("look into `{}`", self.folder.0.display()), error))?;
        if looked.deleted > 0 {
            tracing::info!(sink = self.sink, files = looked.deleted, "deleted what earlier attempts had half written");
        }
        Ok(looked.newest.filter(|newest| *newest > owned))
    }

    fn ahead(&self, newest: Epoch, owned: Epoch) -> SinkError {
        self.refused(format!(
            "folder `{}` is ahead of the job's log: it has files of epoch {newest}, and the newest epoch that the log owns is \
             {owned}. So the checkpoints are older than what was published from them, as after a restore from a backup. Bring \
             the newest checkpoints back; or move the files of later epochs away, and they are written anew",
            self.folder.0.display()
        ))
    }
}

#[async_trait]
impl Publisher for FilesPublisher {
    fn destination(&self) -> Destination {
        let path = self.folder.0.display().to_string();
        let fields = [("files.path", path), ("files.format", format!("{:?}", self.format))];
        fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
    }

    async fn preflight(&self, _schema: &SchemaRef, _slots: u32, _: Preflight) -> Result<(), SinkError> {
        let this = self.clone();
        blocking(move || {
            this.folder.try_to_write().map_err(|error| {
                this.refused(format!(
                    "path `{}` is not a folder this process can write to: {error}",
                    this.folder.0.display()
                ))
            })
        })
        .await
    }

    async fn compare(&self, owned: Epoch, lineage: &str) -> Result<(), SinkError> {
        let (this, lineage) = (self.clone(), lineage.to_owned());
        // What attempts left is not this one's to delete before it has begun.
        match blocking(move || this.look(&lineage, Attempt(0), owned)).await? {
            Some(newest) => Err(self.ahead(newest, owned)),
            None => Ok(()),
        }
    }

    async fn take_over(&self, permit: &CommitPermit, lineage: &str) -> Result<(), SinkError> {
        let (this, attempt, owned, lineage) = (self.clone(), permit.attempt(), permit.owned(), lineage.to_owned());
        let Some(newest) = blocking(move || this.look(&lineage, attempt, owned)).await? else { return Ok(()) };
        match permit.confirm().await {
            Ok(()) => Err(self.ahead(newest, owned)),
            // A later attempt has gone on.
            Err(PermitError::Over { .. }) => Ok(()),
            Err(error @ PermitError::Unknown(_)) => Err(self.failed("tell whose files are there".to_owned(), error)),
        }
    }

    async fn publish(&self, permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        if chunk.id.index > 0 {
            fault::reach("files-between-chunks");
        }
        let temporary = folder::temporary_name(&chunk.id.lineage, permit.attempt());
        let (this, chunk) = (self.clone(), chunk.clone());
        blocking(move || this.publish_now(&chunk, &temporary)).await
    }
}

/// File work blocks, so it is done on the runtime's threads for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SinkError::Failed {
            sink: String::new(),
            action: "finish file work before the end of the process".to_owned(),
            cause: error.into(),
        }),
    }
}
