//! Full chunks leave memory before their barrier comes, so that an epoch may have more rows than memory.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::{runtime::Handle, sync::Notify};

use super::ChunkRows;
use crate::{
    checkpoint::store::{ObjectPath, Store},
    fault,
};

/// Chunks that are written at the same time; the task waits before it fills another.
const AT_ONCE: usize = 2;

/// Writes the chunks of one sink's slot. Clones write for the same slot.
#[derive(Debug, Clone)]
pub struct Spill {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    io: Handle,
    /// Path of the files, without their numbers.
    prefix: String,
    started: AtomicU64,
    under_way: AtomicUsize,
    written: Notify,
}

impl Spill {
    /// Files are named `<prefix><n>.arrow`; nobody else uses such names.
    pub fn new(store: Arc<dyn Store>, io: Handle, prefix: String) -> Self {
        let (started, under_way, written) = (AtomicU64::new(0), AtomicUsize::new(0), Notify::new());
        Self { inner: Arc::new(Inner { store, io, prefix, started, under_way, written }) }
    }

    /// Begins to write a chunk. If that fails the rows stay in memory, and the barrier tries again.
    pub fn start(&self, rows: &Arc<ChunkRows>) {
        let (inner, rows) = (self.inner.clone(), rows.clone());
        inner.under_way.fetch_add(1, Ordering::AcqRel);
        let number = inner.started.fetch_add(1, Ordering::Relaxed);
        let path = ObjectPath(format!("{}{number}.arrow", inner.prefix));
        self.inner.io.spawn(async move {
            match rows.write(inner.store.as_ref(), path).await {
                Ok(_) => {
                    fault::reach("chunk-spilled");
                    rows.forget().await;
                }
                Err(error) => tracing::warn!(
                    error = crate::error_chain(&error),
                    "a chunk was not written ahead of its checkpoint, which tries again"
                ),
            }
            inner.under_way.fetch_sub(1, Ordering::AcqRel);
            inner.written.notify_waiters();
        });
    }

    /// Waits until there is room for another chunk.
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
    use crate::checkpoint::store::memory::{Action, Fault, MemoryStore};

    fn rows() -> Arc<ChunkRows> {
        let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
        ChunkRows::new(vec![RecordBatch::try_from_iter([("n", column as _)]).unwrap()])
    }

    #[tokio::test]
    async fn a_chunk_that_was_written_early_is_named_and_not_written_again() {
        let store = Arc::new(MemoryStore::default());
        let spill = Spill::new(store.clone(), Handle::current(), "data/1/0/wal-".to_owned());
        let chunk = rows();
        spill.start(&chunk);
        tokio::time::timeout(Duration::from_secs(5), async {
            while chunk.batches().await.is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the rows leave memory");
        let file = chunk.write(store.as_ref(), ObjectPath("data/1/7/wal-at-the-barrier".to_owned())).await.unwrap();
        assert_eq!(file.path.0, "data/1/0/wal-0.arrow");
        assert_eq!(store.list("", None).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_chunk_that_could_not_be_written_early_is_written_at_the_barrier() {
        let store = Arc::new(MemoryStore::default());
        store.fail(Action::Put, "wal-0", Fault::Before, 1);
        let spill = Spill::new(store.clone(), Handle::current(), "data/1/0/wal-".to_owned());
        let chunk = rows();
        for _ in 0..AT_ONCE {
            spill.start(&chunk);
        }
        spill.room().await;
        let path = ObjectPath("data/1/7/wal-at-the-barrier".to_owned());
        let file = chunk.write(store.as_ref(), path).await.unwrap();
        assert!(store.get(&file.path).await.unwrap().is_some_and(|bytes| file.matches(&bytes)));
    }
}
