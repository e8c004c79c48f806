//! A folder of a Hadoop file system.
//!
//! HDFS shows a file under its name from the moment it is opened, and keeps what a dead writer left of it. So an object
//! is written to a file of its own in `.temporary`, made durable on every `DataNode` it goes to (`hsync`), closed, looked
//! at until readers find all of it, and only then given its name by a rename: nobody ever sees half of it. The `NameNode` does renames one after the other and
//! refuses one whose target is there, which makes the create conditional; for a put the rename replaces the target.
//!
//! A rename takes its source away, so it can be sent again when its answer was lost: it takes place once. When the source
//! is found to be gone, an earlier try did it, and the create answers "exists", as S3 does to the author of a request
//! that the SDK repeated; whoever gets that answer reads back.
//!
//! What writers leave in `.temporary` when they die is in no listing. The first write of each process removes what is
//! older than a day.
//!
//! Each file costs the `NameNode` some 300 bytes of memory, each of its folders 150: a job has as many as it has records
//! in its log and files in its checkpoints.

mod connect;
mod error;
mod read;
mod walk;
mod write;

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_crds::{HdfsAddress, HdfsStorage};
use tokio::sync::OnceCell;

use self::{connect::Way, error::Failure};
use super::{Create, Listed, ObjectPath, Store, StoreError, backoff::Backoff, path};

/// Folder below the root for files that have no name yet.
const TEMPORARY: &str = ".temporary";
/// How often a request is tried again that may be answered the next time.
const MORE_TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// What is read or written at once, between two looks at the clock.
const PIECE_BYTES: usize = 16 << 20;

/// Objects as files below `<folder>/<job>`.
#[derive(Debug)]
pub struct HdfsStore {
    address: HdfsAddress,
    /// The job's folder, without a `/` at its end.
    root: String,
    /// Whom the cluster takes us for, for messages.
    user: String,
    way: Way,
    /// Whether [`TEMPORARY`] was looked through.
    swept: OnceCell<()>,
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct HdfsPatience {
    /// Of the `NameNode`.
    pub answer: Duration,
    /// Of the `DataNodes`, for 16 MiB.
    pub piece: Duration,
}

impl Default for HdfsPatience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(10), piece: Duration::from_mins(1) }
    }
}

impl HdfsStore {
    /// Makes the client; nothing is asked of the cluster yet.
    pub fn open(spec: &HdfsStorage, job: &str) -> Result<Self, StoreError> {
        Self::with_patience(spec, job, HdfsPatience::default())
    }

    /// As [`HdfsStore::open`], and waits so long for answers.
    pub fn with_patience(spec: &HdfsStorage, job: &str, patience: HdfsPatience) -> Result<Self, StoreError> {
        let refused = |message: String| StoreError::Refused { location: spec.location(job), message };
        let address = spec.address().map_err(|wrong| refused(format!("spec.checkpoint.storage.hdfs.url: {wrong}")))?;
        let root = format!("{}/{job}", address.folder);
        let way = Way::new(&address, spec, patience).map_err(refused)?;
        Ok(Self { address, root, user: connect::user(spec), way, swept: OnceCell::new() })
    }

    fn file(&self, path: &ObjectPath) -> Result<String, StoreError> {
        Ok(format!("{}/{}", self.root, path::check(path, &self.location())?))
    }

    /// Tries `work` again after failures that may pass.
    async fn persist<T, F>(&self, work: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut backoff = Backoff::new(MORE_TRIES, FIRST_PAUSE);
        loop {
            match work().await {
                Err(failure) if failure.may_pass() && backoff.again().await => {
                    tracing::debug!(%failure, "trying again");
                }
                outcome => return outcome,
            }
        }
    }
}

#[async_trait]
impl Store for HdfsStore {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        let file = self.file(path)?;
        self.create_file(&file, bytes).await.map_err(|failure| self.failed("create", &path.0, failure))
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        let file = self.file(path)?;
        self.replace_file(&file, bytes).await.map_err(|failure| self.failed("write", &path.0, failure))
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        self.get_range(path, 0..u64::MAX).await
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let file = self.file(path)?;
        let read = self.persist(|| self.read_file(&file, range.clone())).await;
        read.map_err(|failure| self.failed("read", &path.0, failure))
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        let mut found = self.files_below(prefix).await.map_err(|failure| self.failed("list", prefix, failure))?;
        found.retain(|listed| after.is_none_or(|after| listed.path > *after));
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.folders_with_files(prefix).await.map_err(|failure| self.failed("list", prefix, failure))
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let file = self.file(path)?;
        self.delete_file(&file).await.map_err(|failure| self.failed("delete", &path.0, failure))
    }

    fn location(&self) -> String {
        format!("hdfs://{}{}", self.address.authority, self.root)
    }
}
