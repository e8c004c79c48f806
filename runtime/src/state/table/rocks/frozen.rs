//! A table as it was at a barrier.

use std::{path::PathBuf, sync::Arc};

use rocksdb::DB;
use tokio::sync::oneshot;

use super::{
    behind::FirstFailure,
    engine::Engine,
    files::{self, LocalFile, Uploaded},
    options,
    table::{at, open_to_read},
};
use crate::state::{
    StatePart,
    local::Scratch,
    table::{Changes, TableError, time_of},
};

/// Makes rows of entries: how a table is written where every backend must be able to read it.
pub type Encode = fn(&Changes) -> Result<Arc<StatePart>, TableError>;

/// A table as it was at a barrier, in files that stay until this and whoever shares its folder is dropped, whatever the
/// table does meanwhile.
pub struct FrozenTable {
    pub(super) engine: Engine,
    pub(super) folder: Arc<Scratch>,
    pub(super) files: PathBuf,
    pub(super) uploaded: Arc<Uploaded>,
    pub(super) oldest: i64,
    pub(super) encode: Encode,
}

impl std::fmt::Debug for FrozenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrozenTable").field("files", &self.files).finish_non_exhaustive()
    }
}

/// A table that is frozen behind its owner's back ([`super::Behind`]), as it was when that was asked for.
#[derive(Debug)]
pub struct Freezing {
    pub(super) frozen: oneshot::Receiver<Result<FrozenTable, TableError>>,
    pub(super) failure: FirstFailure,
}

impl Freezing {
    pub async fn frozen(self) -> Result<FrozenTable, TableError> {
        self.frozen.await.unwrap_or_else(|_| Err(self.failure.cause()))
    }
}

impl FrozenTable {
    /// The files that make it up, by name.
    pub fn files(&self) -> Result<Vec<LocalFile>, TableError> {
        files::list(&self.files)
    }

    /// What the checkpoint storage has of them.
    pub fn uploaded(&self) -> &Uploaded {
        &self.uploaded
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the files are in: they stay until nobody has it any more.
    pub fn folder(&self) -> &Arc<Scratch> {
        &self.folder
    }

    /// Reads all entries, in order. What was forgotten is left out.
    pub fn rows(self) -> Result<Rows, TableError> {
        let db = open_to_read(&self.engine, &self.files)?;
        Ok(Rows { db, table: self, from: Some(Vec::new()) })
    }
}

/// The entries of a frozen table, read a part at a time.
pub struct Rows {
    // Closed before its files go.
    db: DB,
    table: FrozenTable,
    /// The first key that was not read yet; none after the last.
    from: Option<Vec<u8>>,
}

impl Rows {
    /// The next part, of at most so many rows; none after the last.
    pub fn next(&mut self, most: usize) -> Result<Option<Arc<StatePart>>, TableError> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let oldest = self.table.oldest;
        let mut part = Changes::default();
        let mut entries = self.db.raw_iterator_opt(options::walk(from, None));
        entries.seek_to_first();
        while let Some((key, value)) = entries.item() {
            if part.len() >= most {
                self.from = Some(key.to_vec());
                break;
            }
            if oldest == i64::MIN || time_of(value).is_none_or(|time| time >= oldest) {
                part.put(key, value);
            }
            entries.next();
        }
        entries.status().map_err(at("read", self.table.folder.path()))?;
        if part.is_empty() { Ok(None) } else { (self.table.encode)(&part).map(Some) }
    }
}
