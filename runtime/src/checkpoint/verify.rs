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
    manifest::{DATA, FileRef, Manifest, ManifestError, bytes_of, parse_folder},
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
    /// Of a piece of the file: where it begins.
    pub offset: Option<u64>,
    /// The newest checkpoint that names the file.
    pub epoch: Epoch,
    pub found: Found,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Size {
        found: u64,
        written: u64,
    },
    /// So many bytes, where a piece ends later.
    Short {
        found: u64,
        end: u64,
    },
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
        write!(f, "{}", self.path)?;
        if let Some(offset) = self.offset {
            write!(f, ", from byte {offset} on")?;
        }
        write!(f, ", named by epoch {}: ", self.epoch)?;
        match self.found {
            Found::Nothing => f.write_str("it is missing"),
            Found::Size { found, written } => write!(f, "it has {found} bytes, {written} were written"),
            Found::Short { found, end } => write!(f, "the file has {found} bytes, {end} or more were written"),
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
    let mut wanted = Wanted::default();
    manifest.file_refs().for_each(|file| wanted.add(file, manifest.epoch));
    let damage = wanted.damage(store).await?;
    let whole = if damage.is_empty() { vec![manifest.epoch] } else { Vec::new() };
    Ok(Verification { whole, files: wanted.files.len(), bytes: wanted.bytes(), damage, ..Verification::default() })
}

/// What has to be there: of each file, whole or in pieces, what is named, and the newest epoch that names it.
#[derive(Default)]
struct Wanted<'a> {
    files: BTreeMap<&'a ObjectPath, BTreeMap<&'a FileRef, Epoch>>,
}

impl<'a> Wanted<'a> {
    /// Epochs come from the newest on.
    fn add(&mut self, file: &'a FileRef, epoch: Epoch) {
        self.files.entry(&file.path).or_default().entry(file).or_insert(epoch);
    }

    fn bytes(&self) -> u64 {
        bytes_of(self.files.values().flat_map(BTreeMap::keys).copied())
    }

    /// What is wrong with it, by path and place. A file is read once, whole, however many pieces of it are wanted.
    async fn damage(&self, store: &Arc<dyn Store>) -> Result<Vec<Damage>, StoreError> {
        let look =
            async |(path, pieces): (&&ObjectPath, _)| Ok(look_at(path, store.get(path).await?.as_deref(), pieces));
        let read = stream::iter(&self.files).map(look).buffer_unordered(READS);
        let mut damage: Vec<Damage> = read.try_collect::<Vec<_>>().await?.into_iter().flatten().collect();
        damage.sort_by(|a, b| (&a.path, a.offset).cmp(&(&b.path, b.offset)));
        Ok(damage)
    }
}

async fn verify_from(store: &Arc<dyn Store>, newest: &CheckpointRef) -> Result<Verification, VerifyError> {
    let newest = Manifest::read(store.as_ref(), newest).await?;
    let listed = store.list(DATA, None).await?;
    let paths: Vec<ObjectPath> = listed.iter().map(|object| object.path.clone()).collect();
    let mut manifests = older_manifests(store.as_ref(), &paths, &newest, u32::MAX).await?;
    manifests.push(newest);
    manifests.reverse();

    let mut found = Verification::default();
    let mut wanted = Wanted::default();
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
            wanted.add(file, manifest.epoch);
        }
    }
    found.files = wanted.files.len();
    found.bytes = wanted.bytes();
    found.damage = wanted.damage(store).await?;
    let damaged: BTreeSet<&ObjectPath> = found.damage.iter().map(|damage| &damage.path).collect();
    let is_damaged = |manifest: &Manifest| manifest.file_refs().any(|file| damaged.contains(&file.path));
    let damaged: BTreeSet<Epoch> =
        manifests.iter().filter(|manifest| is_damaged(manifest)).map(|one| one.epoch).collect();
    found.whole.retain(|epoch| !damaged.contains(epoch));
    found.garbage = garbage(&manifests, &listed);
    Ok(found)
}

/// What of a file, of which the store has this, is not as it was written.
fn look_at(path: &ObjectPath, bytes: Option<&[u8]>, wanted: &BTreeMap<&FileRef, Epoch>) -> Vec<Damage> {
    let damage = |offset, epoch, found| Damage { path: path.clone(), offset, epoch, found };
    let Some(bytes) = bytes else {
        // Said once, whatever would be in it.
        let newest = wanted.values().max();
        return newest.map(|epoch| damage(None, *epoch, Found::Nothing)).into_iter().collect();
    };
    let wrong = wanted.iter().filter_map(|(file, epoch)| Some(damage(file.offset, *epoch, compare(bytes, file)?)));
    wrong.collect()
}

/// What is wrong with a file, or with a piece of one, whose file has these bytes.
fn compare(bytes: &[u8], file: &FileRef) -> Option<Found> {
    let found = bytes.len() as u64;
    let piece = match file.offset {
        None if found != file.bytes => return Some(Found::Size { found, written: file.bytes }),
        None => bytes,
        Some(offset) => match bytes.get(offset as usize..file.end() as usize) {
            Some(piece) => piece,
            None => return Some(Found::Short { found, end: file.end() }),
        },
    };
    (!file.matches(piece)).then_some(Found::OtherBytes)
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
