//! Deleting what nothing needs any more. Only the owner of the job collects, and only what is the job's: savepoints are their
//! user's, for as long as the job lasts and after it.
//!
//! Kept are the newest checkpoints, as many as the job asks for, with every file they name, and the log. What goes is
//! what a checkpoint that left the kept ones named and none of them does, and, once at the start of an attempt, what
//! earlier attempts left half done. A crash half way leaves garbage that the next start finds, never a hole.
//!
//! Where several checkpoints are under way, one may name a file that the next one does not and the one after does again: who
//! makes the shares looks at each part of state at a moment of its own, and meanwhile parts are written anew elsewhere. But a
//! part never goes back to a place where it was before. So a file goes when some checkpoint that began after the file was
//! part of a completed one has completed without it, since all that begin from then on find its rows elsewhere; and when
//! all that were under way at that moment are decided, without naming it either. One at a time, that is at once.
//!
//! That holds for a file that subtasks share ([`super::pack`]), though its pieces come and go one by one: it goes when nobody
//! names any piece of it. All its pieces are there when the first of them is, so a checkpoint that begins after some
//! completed one has named a piece finds each of them there, or elsewhere for good.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    manifest::{DATA, Manifest, parse_folder},
    savepoint,
    starts::is_of_another,
    store::{ObjectPath, PROOF, Store, StoreError},
};
use crate::{
    error_chain, fault,
    ids::{Attempt, Epoch},
};

/// The checkpoints that are kept, and what left them and may not go yet.
#[derive(Debug)]
pub struct Kept {
    retained: usize,
    /// Oldest first.
    checkpoints: VecDeque<Checkpoint>,
    /// Stays, however old: it is being copied.
    held: Option<Epoch>,
    /// The newest that has begun.
    begun: Epoch,
    /// Begun, and neither completed nor given up.
    under_way: BTreeSet<Epoch>,
    leaving: Vec<Leaving>,
}

#[derive(Debug)]
struct Checkpoint {
    epoch: Epoch,
    /// The newest that had begun when it completed.
    begun: Epoch,
    files: BTreeSet<ObjectPath>,
}

/// Files that no kept checkpoint names.
#[derive(Debug)]
struct Leaving {
    files: BTreeSet<ObjectPath>,
    /// A checkpoint behind this one has to complete without them,
    behind: Epoch,
    /// and then all up to this one have to be decided.
    until: Option<Epoch>,
}

impl Kept {
    pub fn new(retained: u32) -> Self {
        Self {
            retained: retained.max(1) as usize,
            checkpoints: VecDeque::new(),
            held: None,
            begun: Epoch(0),
            under_way: BTreeSet::new(),
            leaving: Vec::new(),
        }
    }

    /// A checkpoint has begun.
    pub fn began(&mut self, epoch: Epoch) {
        self.begun = epoch;
        self.under_way.insert(epoch);
    }

    /// Adds a completed checkpoint; returns the files that are not needed any more.
    pub fn completed(&mut self, manifest: &Manifest) -> BTreeSet<ObjectPath> {
        let (epoch, files): (_, BTreeSet<_>) = (manifest.epoch, manifest.files().collect());
        self.under_way.remove(&epoch);
        self.leaving.iter_mut().for_each(|leaving| leaving.files.retain(|file| !files.contains(file)));
        self.checkpoints.push_back(Checkpoint { epoch, begun: self.begun, files });
        self.let_go()
    }

    /// A checkpoint is given up; returns the files that are not needed any more.
    pub fn given_up(&mut self, epoch: Epoch) -> BTreeSet<ObjectPath> {
        self.under_way.remove(&epoch);
        self.garbage_by_now()
    }

    /// From now on the checkpoint of this epoch stays.
    pub fn hold(&mut self, epoch: Epoch) {
        self.held = Some(epoch);
    }

    /// The checkpoint that was held may go; returns the files that are not needed any more.
    pub fn release(&mut self) -> BTreeSet<ObjectPath> {
        self.held = None;
        self.let_go()
    }

    /// Leaves what is neither new enough nor held.
    fn let_go(&mut self) -> BTreeSet<ObjectPath> {
        let old = self.checkpoints.len().saturating_sub(self.retained);
        let mut newer = self.checkpoints.split_off(old);
        let (held, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.checkpoints)
            .into_iter()
            .partition(|checkpoint| Some(checkpoint.epoch) == self.held);
        self.checkpoints.extend(held);
        self.checkpoints.append(&mut newer);
        for Checkpoint { begun, mut files, .. } in gone {
            files.retain(|file| !self.names(file));
            self.leaving.push(Leaving { files, behind: begun, until: None });
        }
        self.garbage_by_now()
    }

    /// What has left, and nothing under way or to come can name.
    fn garbage_by_now(&mut self) -> BTreeSet<ObjectPath> {
        let newest = self.checkpoints.back().map(|checkpoint| checkpoint.epoch);
        let (first, last) = (self.under_way.first().copied(), self.under_way.last().copied().unwrap_or_default());
        for leaving in self.leaving.iter_mut().filter(|leaving| newest > Some(leaving.behind)) {
            leaving.until.get_or_insert(last);
        }
        let is_over = |until: Epoch| first.is_none_or(|first| first > until);
        let (gone, leaving): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.leaving).into_iter().partition(|leaving| leaving.until.is_some_and(is_over));
        self.leaving = leaving;
        gone.into_iter().flat_map(|leaving| leaving.files).collect()
    }

    fn names(&self, file: &ObjectPath) -> bool {
        self.checkpoints.iter().any(|checkpoint| checkpoint.files.contains(file))
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
    Ok(store.list(DATA, None).await?.into_iter().map(|object| object.path).collect())
}

/// Deletes what earlier attempts left of what is `listed`.
pub async fn sweep(store: Arc<dyn Store>, kept: &Kept, attempt: Attempt, listed: Vec<ObjectPath>) -> usize {
    let garbage = kept.garbage(attempt, listed);
    let count = garbage.len();
    delete(store, garbage).await;
    count
}

/// Deletes what the job has kept up to its last attempt, but for its savepoints: these are their user's. Only after the log
/// says so. The log itself stays: who comes late finds there that nothing is to be gone on with. What is left after a crash
/// half way is swept by whoever begins anew.
pub async fn delete_job(store: &dyn Store, last: Attempt, lineage: &str) {
    if let Err(error) = savepoint::sweep(store).await {
        tracing::warn!(error = error_chain(&error), "savepoints that were begun and not completed were not deleted");
    }
    for prefix in [PROOF, DATA] {
        match store.list(prefix, None).await {
            Ok(listed) => {
                let of_later = |path: &ObjectPath| {
                    parse_folder(path).is_some_and(|(attempt, _)| attempt > last) || is_of_another(lineage, path)
                };
                let paths = listed.into_iter().map(|object| object.path).filter(|path| !of_later(path));
                delete_objects(store, paths).await;
            }
            Err(error) => tracing::warn!(prefix, error = error_chain(&error), "not deleted"),
        }
    }
}

async fn delete_objects(store: &dyn Store, paths: impl IntoIterator<Item = ObjectPath>) {
    for path in paths {
        fault::reach("job-deleted");
        if let Err(error) = store.delete(&path).await {
            tracing::warn!(%path, error = error_chain(&error), "not deleted");
        }
    }
}

#[cfg(test)]
mod tests;
