//! What all tables of a process share.

use std::sync::Arc;

use rocksdb::{Cache, WriteBufferManager};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::state::local::{LocalError, LocalFolder, Scratch};

/// Below this a table could hardly keep its own indexes.
const LEAST: u64 = 16 << 20;
/// Of the budget, for what is not written to files yet: one of so many parts.
const WRITE_BUFFERS: u64 = 4;
/// A table's own write buffer. What is in one is written at the barrier while the task waits, so it is kept small.
const LARGEST_BUFFER: u64 = 16 << 20;
const SMALLEST_BUFFER: u64 = 1 << 20;
/// Pieces of files that are on their way from or to the checkpoint storage, at most.
const MOST_TRANSFERS: u64 = 8;

/// The local folder, and the memory that tables may use. Clones are the same one.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    folder: LocalFolder,
    budget: u64,
    cache: Cache,
    buffers: WriteBufferManager,
    transfers: Semaphore,
}

impl Engine {
    /// Bytes of a piece that is uploaded or downloaded at once.
    pub const PIECE: u64 = 16 << 20;

    /// Tables in `folder`, which together use about `budget` bytes of memory.
    pub fn new(folder: LocalFolder, budget: u64) -> Self {
        let budget = budget.max(LEAST);
        let cache = Cache::new_lru_cache(budget as usize);
        let share = (budget / WRITE_BUFFERS) as usize;
        // Writers are not stalled beyond it: a task that waits here would hold the flush that it waits for.
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(share, false, cache.clone());
        let transfers = Semaphore::new((budget / 4 / Self::PIECE).clamp(2, MOST_TRANSFERS) as usize);
        Self { shared: Arc::new(Shared { folder, budget, cache, buffers, transfers }) }
    }

    pub fn folder(&self) -> &LocalFolder {
        &self.shared.folder
    }

    /// A new empty folder.
    pub fn scratch(&self, name: &str) -> Result<Scratch, LocalError> {
        self.shared.folder.scratch(name)
    }

    /// The right to have one piece of a file in memory.
    pub async fn transfer(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.shared.transfers.acquire().await.ok()
    }

    /// Bytes that tables keep in memory now: cached blocks, indexes, filters and write buffers.
    pub fn memory(&self) -> u64 {
        self.shared.cache.get_usage() as u64
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.shared.cache
    }

    pub(super) fn buffers(&self) -> &WriteBufferManager {
        &self.shared.buffers
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        (self.shared.budget / WRITE_BUFFERS / 4).clamp(SMALLEST_BUFFER, LARGEST_BUFFER) as usize
    }
}
