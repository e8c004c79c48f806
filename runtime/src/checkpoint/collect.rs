//! Deleting what nothing needs any more. Only the owner of the job collects.
//!
//! Kept are the newest checkpoints, as many as the job asks for, with every file they name, and the log. What goes is
//! what a checkpoint that left the kept ones named and none of them does, and, once at the start of an attempt, what
//! earlier attempts left half done. A crash half way leaves garbage that the next start finds, never a hole.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    manifest::{Manifest, parse_folder},
    store::{ObjectPath, Store, StoreError},
};
use crate::{
    fault,
    ids::{Attempt, Epoch},
};

/// The checkpoints that are kept, oldest first, each with the files it names.
#[derive(Debug)]
pub struct Kept {
    retained: usize,
    checkpoints: VecDeque<(Epoch, BTreeSet<ObjectPath>)>,
    /// Stays, however old: it is being copied.
    held: Option<Epoch>,
}

impl Kept {
    pub fn new(retained: u32) -> Self {
        Self { retained: retained.max(1) as usize, checkpoints: VecDeque::new(), held: None }
    }

    /// Adds a completed checkpoint; returns the files that nothing names any more.
    pub fn completed(&mut self, manifest: &Manifest) -> BTreeSet<ObjectPath> {
        self.checkpoints.push_back((manifest.epoch, manifest.files().collect()));
        self.let_go()
    }

    /// From now on the checkpoint of this epoch stays.
    pub fn hold(&mut self, epoch: Epoch) {
        self.held = Some(epoch);
    }

    /// The checkpoint that was held may go; returns the files that nothing names any more.
    pub fn release(&mut self) -> BTreeSet<ObjectPath> {
        self.held = None;
        self.let_go()
    }

    /// Leaves what is neither new enough nor held.
    fn let_go(&mut self) -> BTreeSet<ObjectPath> {
        let old = self.checkpoints.len().saturating_sub(self.retained);
        let mut newer = self.checkpoints.split_off(old);
        let (held, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.checkpoints).into_iter().partition(|(epoch, _)| Some(*epoch) == self.held);
        self.checkpoints.extend(held);
        self.checkpoints.append(&mut newer);
        let mut gone: BTreeSet<ObjectPath> = gone.into_iter().flat_map(|(_, files)| files).collect();
        gone.retain(|file| !self.names(file));
        gone
    }

    fn names(&self, file: &ObjectPath) -> bool {
        self.checkpoints.iter().any(|(_, files)| files.contains(file))
    }

    /// What is garbage among `listed`, at the start of `attempt`: everything of earlier attempts that is not named.
    pub fn garbage(&self, attempt: Attempt, listed: impl IntoIterator<Item = ObjectPath>) -> BTreeSet<ObjectPath> {
        listed
            .into_iter()
            .filter(|path| parse_folder(path).is_some_and(|(of, _)| of < attempt) && !self.names(path))
            .collect()
    }
}

/// Deletes files; what fails is tried by the next start.
pub async fn delete(store: Arc<dyn Store>, files: BTreeSet<ObjectPath>) {
    for file in files {
        fault::reach("collecting");
        if let Err(error) = store.delete(&file).await {
            tracing::warn!(%file, %error, "a file that is no longer needed was not deleted; the next start tries again");
        }
    }
}

/// The manifests before `newest` that are still to be kept, oldest first. One that was written and never owned may be
/// among them; keeping it costs space until it leaves by age, nothing else.
/// `listed` is what the store has.
pub async fn older_manifests(
    store: &dyn Store,
    listed: &[ObjectPath],
    newest: &Manifest,
    retained: u32,
) -> Result<Vec<Manifest>, StoreError> {
    let mut paths: Vec<(Epoch, Attempt, &ObjectPath)> = listed
        .iter()
        .filter(|path| path.0.ends_with("/manifest.json"))
        .filter_map(|path| parse_folder(path).map(|(attempt, epoch)| (epoch, attempt, path)))
        .filter(|(epoch, ..)| *epoch < newest.epoch)
        .collect();
    paths.sort();
    let from = paths.len().saturating_sub(retained.saturating_sub(1) as usize);
    let mut manifests = Vec::new();
    for (.., path) in paths.into_iter().skip(from) {
        if let Some(bytes) = store.get(path).await?
            && let Ok(manifest) = serde_json::from_slice(&bytes)
        {
            manifests.push(manifest);
        }
    }
    Ok(manifests)
}

/// All files of checkpoints that the store has.
pub async fn list(store: &dyn Store) -> Result<Vec<ObjectPath>, StoreError> {
    Ok(store.list("data/", None).await?.into_iter().map(|object| object.path).collect())
}

/// Deletes what earlier attempts left of what is `listed`.
pub async fn sweep(store: Arc<dyn Store>, kept: &Kept, attempt: Attempt, listed: Vec<ObjectPath>) -> usize {
    let garbage = kept.garbage(attempt, listed);
    let count = garbage.len();
    delete(store, garbage).await;
    count
}

/// Deletes everything that the store has of the job. Only after a clean end, with nothing left to publish.
pub async fn delete_all(store: &dyn Store) {
    // The log goes last: without it, nothing says what the data is.
    for prefix in ["data/", ""] {
        match store.list(prefix, None).await {
            Ok(listed) => {
                for object in listed {
                    if let Err(error) = store.delete(&object.path).await {
                        tracing::warn!(path = %object.path, %error, "not deleted");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the checkpoints were not deleted"),
        }
    }
}
