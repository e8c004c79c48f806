//! Copying the state that a manifest names from one place to another, file by file. What was a piece of a file that several
//! subtasks share is a file of its own in the copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{TryStreamExt, stream};
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::{
    manifest::{FileRef, Manifest},
    store::{ObjectPath, Store, StoreError},
};
use crate::{failure::Reason, fault};

/// Files that are in memory at the same time.
const AT_ONCE: usize = 4;

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    pub files: usize,
    pub bytes: u64,
}

#[derive(Debug, Error)]
pub enum CopyError {
    #[error("the file `{file}`, which a checkpoint in {location} names, is missing")]
    Missing { file: FileRef, location: String },
    #[error(
        "the file `{file}`, which a checkpoint in {location} names, is damaged: its bytes are not the ones that were written"
    )]
    Damaged { file: FileRef, location: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reason for CopyError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } => FailureReason::StateUnfit,
            Self::Store(error) => error.reason(),
        }
    }
}

/// Copies all files and pieces of state to another store, or to other places of the same one: each to the place that
/// `place` makes of its number, itself, and what its name ends in, unless that is in `known`. Gives the manifest as it is
/// there, with paths from `root` on, and without chunks.
pub async fn copy_state(
    manifest: &Manifest,
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
    root: &str,
    place: impl Fn(u32, &FileRef, &str) -> ObjectPath,
    known: &BTreeSet<ObjectPath>,
) -> Result<(Manifest, Copied), CopyError> {
    let mut copy = Manifest { chunks: Vec::new(), ..manifest.clone() };
    let places: BTreeMap<FileRef, ObjectPath> = (0..)
        .zip(files(&copy))
        .map(|(number, (file, extension))| {
            let place = place(number, &file, &extension);
            (file, place)
        })
        .collect();
    let copied = Copied { files: places.len(), bytes: places.keys().map(|file| file.bytes).sum() };
    stream::iter(places.iter().filter(|(_, place)| !known.contains(place)).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |(file, place)| copy_file(from, file, to, place))
        .await?;
    copy.place_files(|file| {
        let place = &places.get(file)?.0;
        Some(ObjectPath(place.strip_prefix(root).unwrap_or(place).to_owned()))
    });
    Ok((copy, copied))
}

/// Files and pieces of state, each once, with what the names of such files end in.
fn files(manifest: &Manifest) -> BTreeMap<FileRef, String> {
    let mut files = BTreeMap::new();
    for subtask in manifest.operators.iter().flat_map(|operator| &operator.subtasks) {
        files.extend(subtask.parts.iter().map(|part| (part.file.clone(), "arrow".to_owned())));
        for table in &subtask.table {
            let extension = table.name.rsplit_once('.').map_or("table", |(_, extension)| extension);
            files.extend(table.pieces.iter().map(|piece| (piece.clone(), extension.to_owned())));
        }
    }
    files
}

async fn copy_file(
    from: &Arc<dyn Store>,
    file: &FileRef,
    to: &Arc<dyn Store>,
    place: &ObjectPath,
) -> Result<(), CopyError> {
    let location = from.location();
    let Some(bytes) = file.get(from.as_ref()).await? else {
        return Err(CopyError::Missing { file: file.clone(), location });
    };
    if !file.matches(&bytes) {
        return Err(CopyError::Damaged { file: file.clone(), location });
    }
    to.put(place, bytes).await?;
    fault::reach("state-copied");
    Ok(())
}
