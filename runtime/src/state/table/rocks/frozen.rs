//! A table as it was at a barrier.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::oneshot;

use super::{
    engine::Engine,
    files::{self, LocalFile, Uploaded},
    table::{open_to_read, walk},
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
pub struct Freezing(pub(super) oneshot::Receiver<Result<FrozenTable, TableError>>);

impl Freezing {
    pub async fn frozen(self) -> Result<FrozenTable, TableError> {
        self.0.await.unwrap_or(Err(TableError::Unwritten))
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

    /// Hands over all entries as parts of so many rows, in order. What was forgotten is left out.
    pub fn parts(
        &self,
        rows: usize,
        take: &mut dyn FnMut(Arc<StatePart>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let db = open_to_read(&self.engine, &self.files)?;
        let mut entries = Changes::default();
        walk(&db, self.folder.path(), Vec::new(), None, &mut |key, value| {
            if self.oldest > i64::MIN && time_of(value).is_some_and(|time| time < self.oldest) {
                return Ok(());
            }
            entries.put(key, value);
            if entries.len() >= rows {
                take((self.encode)(&entries)?)?;
                entries.clear();
            }
            Ok(())
        })?;
        if entries.is_empty() { Ok(()) } else { take((self.encode)(&entries)?) }
    }
}
