//! Where a restore has the files of a checkpoint from: what the process still has, and else the checkpoint storage.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use tidegate_crds::api::RestoredBytes;

use super::at_hand::AtHand;
use crate::{
    checkpoint::{
        manifest::{FileRef, PartRef},
        store::Store,
    },
    state::{
        file::{self, FileError},
        known_file::KnownFile,
        local::LocalError,
    },
};

/// For one restore; it counts what came from where.
#[derive(Debug)]
pub struct Supply {
    store: Arc<dyn Store>,
    at_hand: AtHand,
    memory: AtomicU64,
    disk: AtomicU64,
    remote: AtomicU64,
}

impl Supply {
    pub fn new(store: Arc<dyn Store>, at_hand: AtHand) -> Self {
        let (memory, disk, remote) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { store, at_hand, memory, disk, remote }
    }

    /// From the storage alone.
    pub fn remote(store: Arc<dyn Store>) -> Self {
        Self::new(store, AtHand::default())
    }

    /// So much came from each place.
    pub fn came(&self) -> RestoredBytes {
        RestoredBytes {
            local_memory_bytes: self.memory.load(Ordering::Relaxed),
            local_disk_bytes: self.disk.load(Ordering::Relaxed),
            remote_bytes: self.remote.load(Ordering::Relaxed),
        }
    }

    /// The rows of parts of one file, by batch, if all of them are in memory.
    pub fn rows(&self, parts: &[&PartRef]) -> Option<BTreeMap<u32, RecordBatch>> {
        let rows = parts.iter().map(|part| Some((part.batch, self.at_hand.rows(part)?)));
        let rows = rows.collect::<Option<BTreeMap<u32, RecordBatch>>>()?;
        self.memory.fetch_add(parts.first().map_or(0, |part| part.file.bytes), Ordering::Relaxed);
        Some(rows)
    }

    /// Makes the file of these pieces at `to`, if it is on the local disk.
    pub fn link(&self, pieces: &[FileRef], to: &Path) -> Result<bool, LocalError> {
        let Some(file) = self.at_hand.file(pieces) else { return Ok(false) };
        let linked = file.link(to)?;
        if linked {
            self.disk.fetch_add(pieces.iter().map(|piece| piece.bytes).sum(), Ordering::Relaxed);
        }
        Ok(linked)
    }

    /// The bytes of a file, fetched from the storage and verified.
    pub async fn fetch(&self, file: &FileRef) -> Result<Bytes, FileError> {
        let bytes = file::fetch(&self.store, file).await?;
        self.remote.fetch_add(file.bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    /// These pieces were fetched, and make this file.
    pub fn fetched(&self, pieces: &[FileRef], file: KnownFile) {
        self.at_hand.fetched(pieces, file);
    }
}
