//! Copying the state that a manifest names, file by file, from one place to another.

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
    #[error("the file `{path}`, which a checkpoint in {location} names, is missing")]
    Missing { path: ObjectPath, location: String },
    #[error(
        "the file `{path}`, which a checkpoint in {location} names, is damaged: its bytes are not the ones that were written"
    )]
    Damaged { path: ObjectPath, location: String },
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

/// Copies all files of state to `<folder><number>.<extension>` of another store, or of the same one. Gives the manifest as it
/// is there, with paths from `root` on, a beginning of `folder`, and without chunks.
pub async fn copy_state(
    manifest: &Manifest,
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
    root: &str,
    folder: &str,
) -> Result<(Manifest, Copied), CopyError> {
    let mut copy = Manifest { chunks: Vec::new(), ..manifest.clone() };
    let files: BTreeSet<FileRef> = copy.file_refs().cloned().collect();
    let copied = Copied { files: files.len(), bytes: files.iter().map(|file| file.bytes).sum() };
    let places: BTreeMap<ObjectPath, ObjectPath> = (0..)
        .zip(&files)
        .map(|(number, file): (u32, _)| {
            let extension = file.path.0.rsplit_once('.').map_or("arrow", |(_, extension)| extension);
            (file.path.clone(), ObjectPath(format!("{folder}{number}.{extension}")))
        })
        .collect();
    stream::iter(files.iter().zip(places.values()).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |(file, place)| copy_file(from, file, to, place))
        .await?;
    copy.place_files(|path| {
        let place = &places.get(path)?.0;
        Some(ObjectPath(place.strip_prefix(root).unwrap_or(place).to_owned()))
    });
    Ok((copy, copied))
}

async fn copy_file(
    from: &Arc<dyn Store>,
    file: &FileRef,
    to: &Arc<dyn Store>,
    place: &ObjectPath,
) -> Result<(), CopyError> {
    let (path, location) = (file.path.clone(), from.location());
    let Some(bytes) = from.get(&path).await? else { return Err(CopyError::Missing { path, location }) };
    if !file.matches(&bytes) {
        return Err(CopyError::Damaged { path, location });
    }
    to.put(place, bytes).await?;
    fault::reach("state-copied");
    Ok(())
}
