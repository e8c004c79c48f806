//! Tables: state as bytes, in order, for what does not fit into memory or is looked at by key.
//!
//! A table has entries, of a key and a value. Every key begins with its key group ([`group`]), so the entries of some key
//! groups stand together, and a subtask that takes them over reads just them. What stands behind the group is the
//! owner's; [`Address`] is how typed state makes it from a key and a namespace.
//!
//! An owner asks and writes for a whole batch of rows at a time: many keys at once cost an engine on disk a fraction of
//! what they cost one by one.
//!
//! There are two implementations, [`MemoryTable`] and [`rocks::RocksTable`], and one conformance suite that both pass. A
//! table is not durable by itself: at a barrier its owner *freezes* it, and what that gives goes into the checkpoint.

use std::{ops::Range, sync::Arc};

use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::local::LocalError;
use crate::failure::Reason;

mod address;
#[cfg(test)]
mod conformance;
mod memory;
#[cfg(feature = "rocksdb")]
pub mod rocks;
#[cfg(not(feature = "rocksdb"))]
#[path = "absent.rs"]
pub mod rocks;

pub use address::Address;
pub use memory::MemoryTable;

/// Bytes of a key group at the beginning of a key.
pub const GROUP_BYTES: usize = 2;

/// A key group as keys begin with it: big-endian, so that bytes stand in the order of the groups.
pub fn group(group: u32) -> [u8; GROUP_BYTES] {
    // There are at most 32,768 key groups.
    (group as u16).to_be_bytes()
}

#[derive(Debug, Error)]
pub enum TableError {
    #[cfg(feature = "rocksdb")]
    #[error("failed to {action} the table in {}", .path.display())]
    Rocks {
        action: &'static str,
        path: std::path::PathBuf,
        #[source]
        cause: rocksdb::Error,
    },
    #[cfg(not(feature = "rocksdb"))]
    #[error(transparent)]
    Absent(#[from] crate::features::NotBuilt),
    #[error("an entry of a table is not as it was written: {0}")]
    Damaged(String),
    #[error("the thread that writes a table has ended before it was done")]
    Unwritten,
    /// Of a step that later ones wait for.
    #[error(transparent)]
    Earlier(Arc<TableError>),
    #[error("the work on a table's files has ended before it was done")]
    Interrupted(#[source] tokio::task::JoinError),
    #[error("failed to start the thread that writes a table")]
    Thread(#[source] std::io::Error),
    #[error("failed to make rows of a table's entries")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl Reason for TableError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Damaged(_) => FailureReason::StateUnfit,
            #[cfg(not(feature = "rocksdb"))]
            Self::Absent(_) => FailureReason::DocumentInvalid,
            #[cfg(feature = "rocksdb")]
            Self::Rocks { cause, .. } if is_of_the_disk(cause) => FailureReason::LocalDiskFailed,
            #[cfg(feature = "rocksdb")]
            Self::Rocks { .. } => FailureReason::TaskFailed,
            Self::Local(error) => error.reason(),
            Self::Earlier(error) => error.reason(),
            Self::Unwritten | Self::Interrupted(_) | Self::Thread(_) | Self::Arrow(_) => FailureReason::TaskFailed,
        }
    }
}

/// What RocksDB could not write or read, or finds changed: a table is only a copy, and a restart makes another.
#[cfg(feature = "rocksdb")]
fn is_of_the_disk(error: &rocksdb::Error) -> bool {
    matches!(error.kind(), rocksdb::ErrorKind::IOError | rocksdb::ErrorKind::Corruption)
}

/// Handed an entry's key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), TableError> + 'a;

/// Entries in the order of their keys.
pub trait Table: Send {
    /// Looks many keys up, and says what each has, in the order of the keys.
    fn get_many(
        &self,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, Option<&[u8]>) -> Result<(), TableError>,
    ) -> Result<(), TableError>;

    /// Puts and deletes, in order, all or nothing.
    fn write(&mut self, changes: &Changes) -> Result<(), TableError>;

    /// Hands over the entries whose keys begin with `prefix`, in order.
    fn scan_prefix(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), TableError>;

    /// Hands over the entries of some key groups, in order.
    fn scan_groups(&self, groups: Range<u32>, visit: &mut Visit<'_>) -> Result<(), TableError>;

    /// From now on entries whose time is before `oldest` may vanish, at any moment: readers take no notice of those that
    /// have not yet. Only for a table whose values all begin with a time, see [`time_of`].
    fn forget(&mut self, oldest: i64) -> Result<(), TableError>;
}

/// The time that a value begins with, in a table that forgets: milliseconds, 8 bytes, little-endian.
pub fn time_of(value: &[u8]) -> Option<i64> {
    value.first_chunk().map(|time| i64::from_le_bytes(*time))
}

/// What is to be written, in order.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Range<usize>,
    /// None of a key to delete.
    value: Option<Range<usize>>,
}

impl Changes {
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let entry = Entry { key: self.keep(key), value: Some(self.keep(value)) };
        self.entries.push(entry);
    }

    pub fn delete(&mut self, key: &[u8]) {
        let entry = Entry { key: self.keep(key), value: None };
        self.entries.push(entry);
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Keys and their new values; none of a key to delete.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let bytes = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.entries.iter().map(move |entry| (bytes(&entry.key), entry.value.as_ref().map(bytes)))
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        from..self.bytes.len()
    }
}
