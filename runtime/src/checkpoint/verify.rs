//! Whether a checkpoint storage has what its checkpoints name, byte for byte.
//!
//! The newest checkpoint must be whole: a job goes on from it. Older ones may be half collected, which is no damage; what
//! is there of them must still be what was written. Nothing is changed. A job may go on meanwhile, and collect what is
//! being looked at: then the verification begins again with the checkpoint that is newest by then.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use thiserror::Error;

use super::{
    claim::{ClaimError, read_newest},
    collect::older_manifests,
    log::AttemptLog,
    manifest::{FileRef, Manifest, ManifestError, parse_folder},
    record::CheckpointRef,
    store::{Listed, ObjectPath, Store, StoreError},
};
use crate::ids::Epoch;

/// Files that are read at the same time.
const READS: usize = 8;
/// How often a verification begins, while the job goes on.
const TRIES: usize = 5;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Whole checkpoints, the newest first.
    pub whole: Vec<Epoch>,
    /// Older checkpoints that lack files, with how many: they are being collected, or were never owned.
    pub partial: Vec<(Epoch, usize)>,
    /// Files that were read, and their bytes.
    pub files: usize,
    pub bytes: u64,
    pub damage: Vec<Damage>,
    /// Files of earlier attempts that no checkpoint names, which the next start of the job deletes.
    pub garbage: Vec<Listed>,
}

/// A file that is not as the newest checkpoint, or whoever else names it, says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: ObjectPath,
    /// The newest checkpoint that names the file.
    pub epoch: Epoch,
    pub found: Found,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Size { found: u64, written: u64 },
    OtherBytes,
}

#[derive(Debug, Error)]
pub enum VerifyError {
    #[error(transparent)]
    Log(#[from] ClaimError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, named by epoch {}: ", self.path, self.epoch)?;
        match self.found {
            Found::Nothing => f.write_str("it is missing"),
            Found::Size { found, written } => write!(f, "it has {found} bytes, {written} were written"),
            Found::OtherBytes => f.write_str("its bytes are not the ones that were written"),
        }
    }
}

/// Reads everything that the newest checkpoint and the kept ones before it name.
pub async fn verify(store: &Arc<dyn Store>) -> Result<Verification, VerifyError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(AttemptLog { checkpoint: Some(newest), .. }) = read_newest(store.as_ref()).await? else {
            return Ok(Verification::default());
        };
        let verified = verify_from(store, &newest).await;
        let is_whole = verified.as_ref().is_ok_and(|verification| verification.damage.is_empty());
        if is_whole || tries == TRIES || !has_gone_on(store, &newest).await? {
            return verified;
        }
    }
}

async fn has_gone_on(store: &Arc<dyn Store>, checkpoint: &CheckpointRef) -> Result<bool, ClaimError> {
    let now = read_newest(store.as_ref()).await?.and_then(|log| log.checkpoint);
    Ok(now.is_some_and(|now| now != *checkpoint))
}

/// Reads everything that one manifest names, such as a savepoint's.
pub async fn verify_one(store: &Arc<dyn Store>, manifest: &Manifest) -> Result<Verification, StoreError> {
    let files = manifest.file_refs().map(|file| (&file.path, (file, manifest.epoch))).collect();
    let damage = damage(store, &files).await?;
    let whole = if damage.is_empty() { vec![manifest.epoch] } else { Vec::new() };
    let bytes = files.values().map(|(file, _)| file.bytes).sum();
    Ok(Verification { whole, files: files.len(), bytes, damage, ..Verification::default() })
}

/// What is wrong with files, by path.
async fn damage(
    store: &Arc<dyn Store>,
    files: &BTreeMap<&ObjectPath, (&FileRef, Epoch)>,
) -> Result<Vec<Damage>, StoreError> {
    let read = stream::iter(files.values().copied())
        .map(async |(file, epoch)| Ok::<_, StoreError>((file, epoch, look_at(store, file).await?)))
        .buffer_unordered(READS);
    let damage = read.try_filter_map(async |(file, epoch, found)| {
        Ok(found.map(|found| Damage { path: file.path.clone(), epoch, found }))
    });
    let mut damage: Vec<Damage> = damage.try_collect().await?;
    damage.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(damage)
}

async fn verify_from(store: &Arc<dyn Store>, newest: &CheckpointRef) -> Result<Verification, VerifyError> {
    let newest = Manifest::read(store.as_ref(), newest).await?;
    let listed = store.list("data/", None).await?;
    let paths: Vec<ObjectPath> = listed.iter().map(|object| object.path.clone()).collect();
    let mut manifests = older_manifests(store.as_ref(), &paths, &newest, u32::MAX).await?;
    manifests.push(newest);
    manifests.reverse();

    let mut found = Verification::default();
    let mut wanted: BTreeMap<&ObjectPath, (&FileRef, Epoch)> = BTreeMap::new();
    let there: BTreeSet<&ObjectPath> = paths.iter().collect();
    for (age, manifest) in manifests.iter().enumerate() {
        let missing: BTreeSet<&ObjectPath> =
            manifest.file_refs().map(|file| &file.path).filter(|path| !there.contains(path)).collect();
        match missing.len() {
            0 => found.whole.push(manifest.epoch),
            count if age > 0 => found.partial.push((manifest.epoch, count)),
            _ => {}
        }
        for file in manifest.file_refs().filter(|file| age == 0 || there.contains(&file.path)) {
            wanted.entry(&file.path).or_insert((file, manifest.epoch));
        }
    }
    found.files = wanted.len();
    found.bytes = wanted.values().map(|(file, _)| file.bytes).sum();
    found.damage = damage(store, &wanted).await?;
    found.garbage = garbage(&manifests, &listed);
    Ok(found)
}

/// What is not as it was written; none for a file that is.
async fn look_at(store: &Arc<dyn Store>, file: &FileRef) -> Result<Option<Found>, StoreError> {
    Ok(match store.get(&file.path).await? {
        None => Some(Found::Nothing),
        Some(bytes) if bytes.len() as u64 != file.bytes => {
            Some(Found::Size { found: bytes.len() as u64, written: file.bytes })
        }
        Some(bytes) if !file.matches(&bytes) => Some(Found::OtherBytes),
        Some(_) => None,
    })
}

/// Files of attempts before the newest checkpoint's that no manifest names. What its own attempt writes may be needed.
fn garbage(manifests: &[Manifest], listed: &[Listed]) -> Vec<Listed> {
    let named: BTreeSet<ObjectPath> = manifests.iter().flat_map(Manifest::files).collect();
    let newest = manifests.iter().map(|manifest| manifest.attempt).max();
    let of_before = |object: &&Listed| parse_folder(&object.path).is_some_and(|(attempt, _)| Some(attempt) < newest);
    listed.iter().filter(of_before).filter(|object| !named.contains(&object.path)).cloned().collect()
}

#[cfg(test)]
mod tests;
