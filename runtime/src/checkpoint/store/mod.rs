//! Where checkpoints live: a store of immutable objects with a conditional create.
//!
//! The whole of the engine's safety rests on one promise: of two [`Store::create`] calls with the same path, at most one
//! ever answers `Created`, over processes and crashes, and an object is seen complete or not at all. A store that can't
//! keep it is refused by [`prove`] at the first start.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use crate::{failure::Reason, job::secrets::MissingSecret};

mod address;
#[cfg(any(feature = "hdfs", feature = "s3"))]
mod backoff;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
#[cfg(test)]
pub mod gated;
#[cfg(feature = "hdfs")]
mod hdfs;
mod local;
#[cfg(any(test, feature = "test-util"))]
pub mod memory;
mod open;
mod path;
mod prove;
#[cfg(feature = "s3")]
mod s3;
#[cfg(test)]
mod tests;

#[cfg(feature = "hdfs")]
pub use self::hdfs::{HdfsPatience, HdfsStore};
#[cfg(feature = "s3")]
pub use self::s3::{S3Patience, S3Store};
pub use self::{
    address::{AddressError, open_at},
    local::LocalStore,
    open::{location, open},
    prove::{PROOF, prove},
};

/// Path of an object below the store's root: segments of `[A-Za-z0-9._-]`, joined by `/`. Never the prefix of another
/// path followed by `/`: some stores can't have an object and a folder of one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectPath(pub String);

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Answer to a conditional create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// The object was not there, and now is, with our bytes.
    Created,
    /// An object is there already: somebody else's, or ours from a try whose answer was lost.
    Exists,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub path: ObjectPath,
    pub bytes: u64,
}

#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Creates the object if no object has this path. After an error the outcome is unknown: the create may have taken
    /// place, or may still.
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError>;

    /// Writes an object that may be there already. For data under names that only one writer uses, and for hints.
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError>;

    /// The whole object; `None` if there is none.
    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError>;

    /// The bytes of a range of an object, as far as the object has them; `None` if there is none. An answer that is cut short
    /// on its way is an error, or asked for again.
    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError>;

    /// All objects below `prefix` (a path ending in `/`, or empty), by path, those after `after` only.
    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError>;

    /// The names directly below `prefix` that have objects below them, in order: `1`, `2` for `log/1/0`, `log/2/0`.
    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Deletes an object; no error if there is none.
    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError>;

    /// Where this is, for people: `s3://bucket/prefix/job`.
    fn location(&self) -> String;
}

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("failed to {action} `{path}` in {location}")]
    Failed {
        action: &'static str,
        path: String,
        location: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A message for the user: what was found, what is accepted. Trying again does not help.
    #[error("checkpoint storage {location}: {message}")]
    Refused { location: String, message: String },
    #[error("checkpoint storage {location}: {missing}")]
    Secret { location: String, missing: Box<MissingSecret> },
    /// Of a write that several wait for.
    #[error(transparent)]
    Shared(Arc<StoreError>),
}

impl Reason for StoreError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Failed { .. } => FailureReason::StorageUnreachable,
            Self::Refused { .. } => FailureReason::StorageUnfit,
            Self::Secret { missing, .. } => missing.reason(),
            Self::Shared(error) => error.reason(),
        }
    }
}
