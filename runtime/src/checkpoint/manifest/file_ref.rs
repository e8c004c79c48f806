//! What a manifest calls a file: a whole object of the store, or a piece of one.
//!
//! Small pieces are written together, as one object that several subtasks share ([`crate::checkpoint::pack`]). A piece is
//! what a file of its own would be: it is named, read, verified, copied and handed on by itself. Only who deletes thinks in
//! objects: one goes when nobody names any piece of it.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::store::{ObjectPath, Store, StoreError},
    checksum::xxh3,
};

/// A file of a checkpoint, or a piece of one. Two pieces of a file never overlap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileRef {
    pub path: ObjectPath,
    /// Where the piece begins, in bytes; none for a whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    pub bytes: u64,
    /// XXH3, 64 bits, hexadecimal, of these bytes.
    pub xxh3: String,
}

impl FileRef {
    /// A whole file.
    pub fn of(path: ObjectPath, bytes: &[u8]) -> Self {
        Self { path, offset: None, bytes: bytes.len() as u64, xxh3: xxh3(bytes) }
    }

    /// Whether `bytes` are what was written.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.xxh3 == xxh3(bytes)
    }

    /// Where the bytes end in their file.
    pub fn end(&self) -> u64 {
        self.offset.unwrap_or_default().saturating_add(self.bytes)
    }

    /// What the store has of it, not verified: fewer bytes, or none, where the file ends too early. `None` if there is no
    /// file.
    pub async fn get(&self, store: &dyn Store) -> Result<Option<Bytes>, StoreError> {
        match self.offset {
            None => store.get(&self.path).await,
            Some(offset) => store.get_range(&self.path, offset..self.end()).await,
        }
    }
}

/// For messages.
impl fmt::Display for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            None => self.path.fmt(f),
            Some(offset) => write!(f, "{}[{offset}..{}]", self.path, self.end()),
        }
    }
}

/// Bytes of files and pieces, each counted once.
pub fn bytes_of<'a>(files: impl IntoIterator<Item = &'a FileRef>) -> u64 {
    files.into_iter().collect::<BTreeSet<_>>().into_iter().map(|file| file.bytes).sum()
}
