//! Savepoints: copies of a checkpoint that need nothing else, and that nobody deletes but their user.
//!
//! ```text
//! savepoints/<name>/state/<attempt>-<epoch>-<n>.arrow    the files of state, as the checkpoint had them
//! savepoints/<name>/savepoint.json                       a manifest, with paths below this folder; written last
//! ```
//!
//! The copy is made when the checkpoint's epoch is published, so a savepoint has no rows that wait for a sink, and who
//! begins with it has nothing to publish for another job.
//!
//! A savepoint is complete when its `savepoint.json` is there: one conditional create. Whose process dies half way leaves
//! a folder without one, which the next owner of the job gives up by creating that object itself, as an empty grave: a
//! late hand of the dead process then finds it there, and can't complete what is being deleted. Such a name is not used
//! again.
//!
//! What is deleted has a grave first, and loses it last. Files of state are told apart by attempt and epoch, so whoever
//! deletes those that he has seen beside a grave deletes nothing of a savepoint that gets the name afterwards.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::{
    checked_json,
    copy::{Copied, CopyError, copy_state},
    journal::create_bytes,
    manifest::{FileRef, Manifest},
    store::{ObjectPath, Store, StoreError},
};
use crate::{failure::Reason, fault};

/// Name of the object that makes a folder a savepoint.
pub const FILE: &str = "savepoint.json";
/// Folder of its files of state, below its own.
pub const STATE: &str = "state/";
const LONGEST_NAME: usize = 63;
/// What stands in the place of a savepoint that was begun and never completed, or is being deleted.
const GRAVE: &[u8] = br#"{"givenUp":true}"#;

#[derive(Debug, Error)]
pub enum SavepointError {
    #[error(
        "found the name `{name}`; accepted are 1 to {LONGEST_NAME} lower-case letters, digits and `-`, not at either end"
    )]
    Name { name: String },
    #[error("there is a savepoint `{name}` already; choose another name, or delete that savepoint first")]
    Taken { name: String },
    #[error("a savepoint `{name}` was begun and given up, or is being deleted; choose another name")]
    GivenUp { name: String },
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("failed to write the savepoint's manifest as JSON")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reason for SavepointError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Store(error) => error.reason(),
            Self::Copy(error) => error.reason(),
            Self::Name { .. } | Self::Taken { .. } | Self::GivenUp { .. } | Self::Json(_) => FailureReason::TaskFailed,
        }
    }
}

/// Whether the object at [`FILE`] says that there is no savepoint.
pub fn is_given_up(bytes: &[u8]) -> bool {
    bytes == GRAVE
}

/// Folder of a savepoint, below the job's.
pub fn folder(name: &str) -> String {
    format!("savepoints/{name}/")
}

fn file(name: &str) -> ObjectPath {
    ObjectPath(format!("{}{FILE}", folder(name)))
}

/// Whether a savepoint can have this name.
pub fn check_name(name: &str) -> Result<(), SavepointError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |name: &str| name.starts_with('-') || name.ends_with('-');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) || ends(name) {
        return Err(SavepointError::Name { name: name.to_owned() });
    }
    Ok(())
}

/// Whether the name is free.
pub async fn check_free(store: &dyn Store, name: &str) -> Result<(), SavepointError> {
    check_name(name)?;
    match store.get(&file(name)).await? {
        None => Ok(()),
        Some(bytes) if is_given_up(&bytes) => Err(SavepointError::GivenUp { name: name.to_owned() }),
        Some(_) => Err(SavepointError::Taken { name: name.to_owned() }),
    }
}

/// Copies a checkpoint whose chunks are all published. Its files must stay until this has ended.
pub async fn write(store: &Arc<dyn Store>, name: &str, manifest: &Manifest) -> Result<Copied, SavepointError> {
    let root = folder(name);
    let (attempt, epoch) = (manifest.attempt.0, manifest.epoch.0);
    let place = |number, _: &FileRef, extension: &str| {
        ObjectPath(format!("{root}{STATE}{attempt:08}-{epoch:012}-{number}.{extension}"))
    };
    let (copy, copied) = copy_state(manifest, store, store, &root, place, &BTreeSet::new()).await?;
    fault::reach("before-savepoint");
    let bytes = checked_json::to_bytes(&copy)?;
    if !create_bytes(store.as_ref(), &file(name), &bytes).await? {
        return Err(SavepointError::Taken { name: name.to_owned() });
    }
    fault::reach("after-savepoint");
    Ok(copied)
}

/// Deletes a savepoint. False if there is none of this name.
pub async fn delete(store: &dyn Store, name: &str) -> Result<bool, StoreError> {
    match store.get(&file(name)).await? {
        Some(bytes) if !is_given_up(&bytes) => {}
        _ => return Ok(false),
    }
    delete_folder(store, &folder(name)).await?;
    Ok(true)
}

/// Deletes the savepoint in a folder.
///
/// First a grave takes the place of what makes it one, and goes last: until then nobody can have the name.
pub async fn delete_folder(store: &dyn Store, folder: &str) -> Result<(), StoreError> {
    let file = ObjectPath(format!("{folder}{FILE}"));
    store.put(&file, Bytes::from_static(GRAVE)).await?;
    fault::reach("savepoint-deleted");
    delete_state(store, folder).await?;
    store.delete(&file).await
}

/// Deletes the files of state in a folder that has a grave. Returns how many there were.
pub async fn delete_state(store: &dyn Store, folder: &str) -> Result<usize, StoreError> {
    let files = store.list(&format!("{folder}{STATE}"), None).await?;
    // What was there before it was looked at is none of a savepoint that comes after.
    let marker = store.get(&ObjectPath(format!("{folder}{FILE}"))).await?;
    if files.is_empty() || !marker.is_some_and(|bytes| is_given_up(&bytes)) {
        return Ok(0);
    }
    for object in &files {
        store.delete(&object.path).await?;
    }
    Ok(files.len())
}

/// Gives up savepoints that earlier attempts began and did not complete, and deletes what there is of them. Only for the
/// owner of the job, before it takes savepoints of its own. Returns how many files went.
pub async fn sweep(store: &dyn Store) -> Result<usize, StoreError> {
    let mut gone = 0;
    for name in store.list_folders("savepoints/").await? {
        match check_name(&name) {
            Ok(()) => gone += give_up(store, &name).await?,
            Err(_) => tracing::warn!(name, "a folder among the savepoints is none: it is left alone"),
        }
    }
    Ok(gone)
}

/// Gives up one savepoint, unless it is complete. Returns how many files went.
pub async fn give_up(store: &dyn Store, name: &str) -> Result<usize, StoreError> {
    let place = file(name);
    let is_grave = match store.get(&place).await? {
        Some(bytes) => is_given_up(&bytes),
        None => create_bytes(store, &place, &Bytes::from_static(GRAVE)).await?,
    };
    if is_grave { delete_state(store, &folder(name)).await } else { Ok(0) }
}

#[cfg(test)]
mod tests;
