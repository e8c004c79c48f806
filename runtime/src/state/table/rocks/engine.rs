//! What all tables of a process share.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use rocksdb::{Cache, WriteBufferManager};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::state::{
    local::{LocalError, LocalFolder, Scratch},
    table::TableError,
};

/// Below this a table could hardly keep its own indexes.
const LEAST: u64 = 16 << 20;
/// Of the budget, one of so many parts is for filters over all keys of a table, or for cached blocks where these take less;
const FILTERS: u64 = 4;
/// one for entries that owners of tables have not written yet;
const UNWRITTEN: u64 = 8;
/// one for pieces of files that are on their way from or to the checkpoint storage. What is left is for cached blocks,
const TRANSFERS: u64 = 8;
/// and of that, one for the tables' own write buffers.
const WRITE_BUFFERS: u64 = 4;
/// A table's own write buffer. What is in one is written at the barrier while the task waits, so it is kept small.
const LARGEST_BUFFER: u64 = 16 << 20;
const SMALLEST_BUFFER: u64 = 1 << 20;
/// More that is not written would make the steps longer in which it is.
const MOST_UNWRITTEN: u64 = 64 << 20;
/// Pieces under way at the same time.
const MOST_TRANSFERS: u64 = 8;

/// The local folder, and the memory that tables may use. Clones are the same one.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    folder: LocalFolder,
    budget: u64,
    /// Of blocks, has so many bytes and those that filters do not take.
    cache: Cache,
    cached: u64,
    buffers: WriteBufferManager,
    /// Bytes that filters may still take.
    filters: Mutex<u64>,
    tables: AtomicU64,
    transfers: Semaphore,
}

/// Bytes of the budget that a filter has, until this is dropped.
pub struct Reserved {
    bytes: u64,
    shared: Arc<Shared>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut left = self.shared.filters();
        *left += self.bytes;
        self.shared.cache_beside(*left);
    }
}

/// A table that is open.
pub(super) struct Open {
    shared: Arc<Shared>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.tables.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn filters(&self) -> MutexGuard<'_, u64> {
        // A number is whole whenever somebody panics.
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the cache what filters leave.
    fn cache_beside(&self, left: u64) {
        self.cache.clone().set_capacity((self.cached + left) as usize);
    }
}

impl Engine {
    /// Bytes of a piece that is uploaded or downloaded at once.
    pub const PIECE: u64 = 16 << 20;

    /// Tables in `folder`, which together use about `budget` bytes of memory.
    pub fn new(folder: LocalFolder, budget: u64) -> Result<Self, TableError> {
        let budget = budget.max(LEAST);
        let filters = budget / FILTERS;
        let cached = budget - filters - budget / UNWRITTEN - budget / TRANSFERS;
        let cache = Cache::new_lru_cache((cached + filters) as usize);
        let share = (cached / WRITE_BUFFERS) as usize;
        // Writers are not stalled beyond it: a task that waits here would hold the flush that it waits for.
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(share, false, cache.clone());
        let transfers = Semaphore::new((budget / TRANSFERS / Self::PIECE).clamp(2, MOST_TRANSFERS) as usize);
        let (filters, tables) = (Mutex::new(filters), AtomicU64::new(0));
        Ok(Self { shared: Arc::new(Shared { folder, budget, cache, cached, buffers, filters, tables, transfers }) })
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

    /// Bytes for a filter, if there are so many left.
    pub fn reserve(&self, bytes: u64) -> Option<Reserved> {
        let mut left = self.shared.filters();
        *left = left.checked_sub(bytes)?;
        self.shared.cache_beside(*left);
        Some(Reserved { bytes, shared: self.shared.clone() })
    }

    /// Bytes that tables keep in memory now: cached blocks, indexes, filters and write buffers.
    pub fn memory(&self) -> u64 {
        let filters = self.shared.budget / FILTERS - *self.shared.filters();
        self.shared.cache.get_usage() as u64 + filters
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.shared.cache
    }

    pub(super) fn buffers(&self) -> &WriteBufferManager {
        &self.shared.buffers
    }

    /// Bytes that a table keeps in a write buffer before it writes them to a file.
    pub(super) fn buffer_bytes(&self) -> usize {
        (self.shared.budget / 16).clamp(SMALLEST_BUFFER, LARGEST_BUFFER) as usize
    }

    /// Bytes that the owner of a table may keep in memory before it has them written.
    pub fn unwritten_bytes(&self) -> usize {
        let all = self.shared.budget / UNWRITTEN;
        (all / self.shared.tables.load(Ordering::Relaxed).max(1)).min(MOST_UNWRITTEN) as usize
    }

    /// One table more, until this is dropped.
    pub(super) fn open(&self) -> Open {
        self.shared.tables.fetch_add(1, Ordering::Relaxed);
        Open { shared: self.shared.clone() }
    }
}
