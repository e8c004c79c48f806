//! Rows that nobody reads here leave memory before their barrier comes, so that an epoch may have more of them than
//! memory.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::{runtime::Handle, sync::Notify};

use super::{ChunkRows, StatePart, file::FileError};
use crate::{
    checkpoint::{pack::Packer, store::ObjectPath},
    fault,
};

/// Rows of a part that is written ahead.
const PART_ROWS: usize = 1 << 18;
/// Files that are written at the same time; the task waits before it fills another.
const AT_ONCE: usize = 2;

/// Writes files of one subtask's operator ahead. Clones write for the same one.
#[derive(Debug, Clone)]
pub struct WriteAhead {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    packer: Packer,
    io: Handle,
    /// Path of the files, without their numbers.
    prefix: String,
    part_rows: usize,
    started: AtomicU64,
    bytes: AtomicU64,
    under_way: AtomicUsize,
    written: Notify,
}

impl WriteAhead {
    /// Files that nobody shares are named `<prefix><n>.arrow`; nobody else uses such names.
    pub fn new(packer: Packer, io: Handle, prefix: String) -> Self {
        Self::with_part_rows(PART_ROWS, packer, io, prefix)
    }

    /// As [`WriteAhead::new`], for parts of another size.
    pub fn with_part_rows(part_rows: usize, packer: Packer, io: Handle, prefix: String) -> Self {
        let (started, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let (under_way, written) = (AtomicUsize::new(0), Notify::new());
        Self { inner: Arc::new(Inner { packer, io, prefix, part_rows, started, bytes, under_way, written }) }
    }

    /// Begins to write a chunk. If that fails the rows stay in memory, and the barrier tries again.
    pub fn chunk(&self, rows: &Arc<ChunkRows>) {
        let (rows, packer, path) = (rows.clone(), self.inner.packer.clone(), self.path());
        self.start(async move {
            rows.write(&packer, path).await?;
            fault::reach("chunk-written-ahead");
            rows.forget().await;
            // The checkpoint counts the files of its chunks itself.
            Ok(0)
        });
    }

    /// Whether so many rows that nobody reads are worth a file.
    pub fn is_due(&self, rows: usize) -> bool {
        rows >= self.inner.part_rows
    }

    /// Begins to write a part of state that nobody reads. If that fails it stays in memory, and the barrier tries again.
    pub fn part(&self, part: &Arc<StatePart>) {
        let Some(claim) = part.claim() else { return };
        let (packer, path) = (self.inner.packer.clone(), self.path());
        self.start(async move { claim.write(&packer, path).await });
    }

    fn path(&self) -> ObjectPath {
        let number = self.inner.started.fetch_add(1, Ordering::Relaxed);
        ObjectPath(format!("{}{number}.arrow", self.inner.prefix))
    }

    fn start(&self, writing: impl Future<Output = Result<u64, FileError>> + Send + 'static) {
        let inner = self.inner.clone();
        inner.under_way.fetch_add(1, Ordering::AcqRel);
        self.inner.io.spawn(async move {
            match writing.await {
                Ok(bytes) => {
                    inner.bytes.fetch_add(bytes, Ordering::AcqRel);
                }
                Err(error) => tracing::warn!(
                    error = crate::error_chain(&error),
                    "rows were not written ahead of their checkpoint, which tries again"
                ),
            }
            inner.under_way.fetch_sub(1, Ordering::AcqRel);
            inner.written.notify_waiters();
        });
    }

    /// Bytes of state written since the last call.
    pub fn take_bytes(&self) -> u64 {
        self.inner.bytes.swap(0, Ordering::AcqRel)
    }

    /// Waits until there is room for another file.
    pub async fn room(&self) {
        loop {
            let written = self.inner.written.notified();
            if self.inner.under_way.load(Ordering::Acquire) < AT_ONCE {
                return;
            }
            written.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::{Int64Array, RecordBatch};

    use super::*;
    use crate::checkpoint::store::{
        Store,
        memory::{Action, Fault, MemoryStore},
    };

    fn rows() -> Arc<ChunkRows> {
        let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
        ChunkRows::new(vec![RecordBatch::try_from_iter([("n", column as _)]).unwrap()])
    }

    #[tokio::test]
    async fn a_chunk_that_was_written_early_is_named_and_not_written_again() {
        let store = Arc::new(MemoryStore::default());
        let packer = Packer::eager(store.clone(), Handle::current());
        let ahead = WriteAhead::new(packer.clone(), Handle::current(), "data/1/0/wal-".to_owned());
        let chunk = rows();
        ahead.chunk(&chunk);
        tokio::time::timeout(Duration::from_secs(5), async {
            while chunk.batches().await.is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the rows leave memory");
        let file = chunk.write(&packer, ObjectPath("data/1/7/wal-at-the-barrier".to_owned())).await.unwrap();
        assert_eq!(file.path.0, "data/1/0/wal-0.arrow");
        assert_eq!(store.list("", None).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_chunk_that_could_not_be_written_early_is_written_at_the_barrier() {
        let store = Arc::new(MemoryStore::default());
        store.fail(Action::Put, "wal-0", Fault::Before, 1);
        let packer = Packer::eager(store.clone(), Handle::current());
        let ahead = WriteAhead::new(packer.clone(), Handle::current(), "data/1/0/wal-".to_owned());
        let chunk = rows();
        for _ in 0..AT_ONCE {
            ahead.chunk(&chunk);
        }
        ahead.room().await;
        let path = ObjectPath("data/1/7/wal-at-the-barrier".to_owned());
        let file = chunk.write(&packer, path).await.unwrap();
        assert!(store.get(&file.path).await.unwrap().is_some_and(|bytes| file.matches(&bytes)));
    }
}
