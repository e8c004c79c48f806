//! What a job begins with that has no checkpoint of its own: a savepoint, or a checkpoint of another job.
//!
//! It is found by the path that the user gives, and copied into the job's own storage before the job is claimed, so that
//! nothing refers to the original afterwards. The copy has a lineage of its own: whatever the original's job goes on to
//! publish, the two never take each other's chunks for their own. For that reason a checkpoint with chunks that may not
//! be published is refused: nobody would publish them for the copy.
//!
//! The original may be a job that runs, and deletes what is being copied. Of such a one the newest checkpoint is meant
//! whose output is published; when it goes, the next one is tried. Copies have names by what is in them and where it was, so that
//! only what is new is copied then: with each try less is left to do.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use thiserror::Error;
use tidegate_crds::{
    StorageSpec,
    api::{Failure, FailureReason},
};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    claim::{ClaimError, Recent, read_recent},
    committed::Committed,
    copy::{CopyError, copy_state},
    manifest::{Beginning, FileRef, Manifest, ManifestError, parse_folder, sha256},
    record::CheckpointRef,
    savepoint,
    store::{AddressError, ObjectPath, Store, StoreError, open_at},
};
use crate::{
    failure::Reason,
    ids::{Attempt, Epoch},
};

const MANIFEST: &str = "manifest.json";
/// Where copies of files are: no attempt and no epoch has these numbers.
const COPIES: &str = "data/00000000/000000000000/";
/// How often a copy begins, of a job that goes on meanwhile.
const TRIES: u32 = 50;
/// How often what is deleted while it is looked at is looked for.
const LOOKS: u32 = 10;

/// What helps where a job deletes its checkpoints faster than they are copied.
const HOW_TO_HOLD: &str = "take a savepoint of that job and begin with it, or raise its `checkpoint.retained`";

/// Something that a job can begin with.
#[derive(Debug)]
pub struct Origin {
    /// Its files are named from this store's root.
    pub store: Arc<dyn Store>,
    pub manifest: Manifest,
    /// Of a savepoint, its folder is the store's root.
    pub is_savepoint: bool,
    sha256: String,
}

/// A job that has no checkpoint of its own.
#[async_trait]
pub trait Beginner: Send + Sync {
    /// Whether it can begin with what was found.
    async fn begins_with(&self, origin: &Origin) -> Result<(), Failure>;
}

#[derive(Debug, Error)]
pub enum OriginError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(
        "{location} has no savepoint, no checkpoint and no job; accepted is the folder of a savepoint (with a \
         `savepoint.json`), of a job (with `log/`), or a checkpoint's `manifest.json`"
    )]
    Nothing { location: String },
    #[error("the savepoint {location} was begun and never completed; choose another")]
    GivenUp { location: String },
    #[error(
        "{location}: {chunks} chunks of epoch {epoch} and before are not known to be published, and a copy would never \
         publish them; take a savepoint of that job, or let it go on under its own jobId until they are"
    )]
    Unpublished { location: String, chunks: usize, epoch: Epoch },
    #[error(
        "{location}: the checkpoints that its log names are lost, or the job that runs there deletes them before they are \
         read; {HOW_TO_HOLD}"
    )]
    Overtaken { location: String },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Log(#[from] ClaimError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to write the manifest as JSON")]
    Json(#[from] serde_json::Error),
}

impl Reason for OriginError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Address(error) => error.reason(),
            Self::Nothing { .. } | Self::GivenUp { .. } | Self::Unpublished { .. } | Self::Overtaken { .. } => {
                FailureReason::StateUnfit
            }
            Self::Manifest(error) => error.reason(),
            Self::Log(error) => error.reason(),
            Self::Copy(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Json(_) => FailureReason::TaskFailed,
        }
    }
}

impl Origin {
    /// Finds what `path` means; buckets are reached as `like` says.
    pub async fn find(path: &str, like: &StorageSpec) -> Result<Self, OriginError> {
        let path = path.trim_end_matches('/');
        if let Some((root, manifest)) = checkpoint(path) {
            return Self::of_checkpoint(open_at(root, like).await?, manifest).await;
        }
        Self::of_folder(open_at(savepoint_folder(path), like).await?).await
    }

    /// A folder of a savepoint, or of a job.
    async fn of_folder(store: Arc<dyn Store>) -> Result<Self, OriginError> {
        if let Some(savepoint) = Self::savepoint(&store).await? {
            return Ok(savepoint);
        }
        let Recent { checkpoints, committed } = read_recent(store.as_ref()).await?;
        let mut refused = None;
        for checkpoint in checkpoints {
            match Self::of_published(store.clone(), checkpoint.manifest, &committed).await {
                // Older ones may be collected already, and the newest may be not yet published.
                Err(
                    error @ (OriginError::Unpublished { .. } | OriginError::Manifest(ManifestError::Missing { .. })),
                ) => {
                    refused.get_or_insert(error);
                }
                found => return found,
            }
        }
        Err(refused.unwrap_or_else(|| OriginError::Nothing { location: store.location() }))
    }

    /// The savepoint whose folder is the store's root, if it is one.
    pub async fn savepoint(store: &Arc<dyn Store>) -> Result<Option<Self>, OriginError> {
        let path = ObjectPath(savepoint::FILE.to_owned());
        let Some(bytes) = store.get(&path).await? else { return Ok(None) };
        if savepoint::is_given_up(&bytes) {
            return Err(OriginError::GivenUp { location: store.location() });
        }
        let manifest = Manifest::decode(&path, &bytes)?;
        Ok(Some(Self { store: store.clone(), manifest, is_savepoint: true, sha256: sha256(&bytes) }))
    }

    /// A checkpoint of the job whose root is the store's.
    async fn of_checkpoint(store: Arc<dyn Store>, path: ObjectPath) -> Result<Self, OriginError> {
        let committed = read_recent(store.as_ref()).await?.committed;
        Self::of_published(store, path, &committed).await
    }

    /// A checkpoint of a job that is known to have published so much.
    async fn of_published(store: Arc<dyn Store>, path: ObjectPath, committed: &Committed) -> Result<Self, OriginError> {
        let missing = || ManifestError::Missing { path: path.clone() };
        let bytes = store.get(&path).await?.ok_or_else(missing)?;
        let manifest = Manifest::decode(&path, &bytes)?;
        let pending = manifest.chunks.iter().filter(|chunk| !committed.has(&chunk.id));
        match pending.count() {
            0 => Ok(Self { store, manifest, is_savepoint: false, sha256: sha256(&bytes) }),
            chunks => {
                let location = format!("{}/{path}", store.location());
                Err(OriginError::Unpublished { location, chunks, epoch: manifest.epoch })
            }
        }
    }

    /// Copies it into a job's storage, as the checkpoint of an attempt before the first. Two processes that do so at the
    /// same time write the same objects.
    pub async fn copy_to(&self, own: &Arc<dyn Store>, job: &str) -> Result<CheckpointRef, OriginError> {
        let manifest = Manifest {
            job: job.to_owned(),
            attempt: Attempt(0),
            beginning: Some(self.beginning()),
            ..self.manifest.clone()
        };
        // By where it was, too: rows that look alike are not the same rows, and a part that is named twice is restored once.
        let place = |_, file: &FileRef, extension: &str| {
            let was_at = xxh3_64(format!("{}@{}", file.path, file.offset.unwrap_or_default()).as_bytes());
            ObjectPath(format!("{COPIES}{was_at:016x}-{}-{}.{extension}", file.xxh3, file.bytes))
        };
        let known: BTreeSet<_> = own.list(COPIES, None).await?.into_iter().map(|object| object.path).collect();
        let (manifest, copied) = copy_state(&manifest, &self.store, own, "", place, &known).await?;
        tracing::info!(from = self.store.location(), files = copied.files, bytes = copied.bytes, "state is copied");
        let (bytes, reference) = manifest.encode()?;
        own.put(&reference.manifest, bytes).await?;
        Ok(reference)
    }

    /// As [`Origin::find`], and looks again where the job that runs there has deleted its checkpoints before they were read.
    async fn find_current(path: &str, like: &StorageSpec) -> Result<Self, OriginError> {
        let mut looks = 1;
        loop {
            match Self::find(path, like).await {
                Err(OriginError::Manifest(ManifestError::Missing { .. })) if looks < LOOKS => looks += 1,
                Err(OriginError::Manifest(ManifestError::Missing { .. })) if checkpoint(path).is_none() => {
                    return Err(OriginError::Overtaken { location: path.to_owned() });
                }
                found => return found,
            }
        }
    }

    /// Finds what `path` means, and copies it to a job's storage if the job can begin with it. What a job deletes that runs
    /// is looked for again, as long as that job goes on.
    pub async fn find_and_copy(
        path: &str,
        like: &StorageSpec,
        own: &Arc<dyn Store>,
        job: &str,
        beginner: &dyn Beginner,
    ) -> Result<CheckpointRef, Failure> {
        let mut found = Self::find_current(path, like).await.map_err(|error| error.failure())?;
        let mut tries = 1;
        loop {
            let copied = match beginner.begins_with(&found).await {
                Ok(()) => found.copy_to(own, job).await.map_err(|error| error.failure()),
                Err(failure) => Err(failure),
            };
            let failure = match copied {
                Ok(copy) => return Ok(copy),
                Err(failure) => failure,
            };
            let newer = match Self::find_current(path, like).await {
                Ok(newer) if newer.sha256 != found.sha256 => newer,
                // Why it could not be begun with is what somebody has to know.
                _ => return Err(failure),
            };
            if tries == TRIES {
                let message = format!("{} after {TRIES} tries with a newer one each; {HOW_TO_HOLD}", failure.message);
                return Err(Failure { message, ..failure });
            }
            tracing::info!(cause = failure.message, epoch = %newer.manifest.epoch, "trying a newer checkpoint of that job");
            found = newer;
            tries += 1;
        }
    }

    /// Whether the manifest at `path` of a job's storage is a copy of this.
    pub fn was_copied_to(&self, path: &ObjectPath) -> bool {
        let copy = Manifest { attempt: Attempt(0), beginning: Some(self.beginning()), ..self.manifest.clone() };
        copy.path() == *path
    }

    fn beginning(&self) -> Beginning {
        Beginning { from: self.store.location(), sha256: self.sha256.clone() }
    }

    /// Deletes a savepoint that the job has claimed, whose copy is at `copy`: its own files, and nothing that somebody else
    /// has put beside them. False if it is gone, or another one by now.
    pub async fn delete_claimed(path: &str, like: &StorageSpec, copy: &ObjectPath) -> Result<bool, OriginError> {
        let store = open_at(savepoint_folder(path.trim_end_matches('/')), like).await?;
        match Self::savepoint(&store).await {
            Ok(Some(origin)) if origin.was_copied_to(copy) => {
                savepoint::delete_folder(store.as_ref(), "").await?;
                Ok(true)
            }
            Ok(_) => Ok(false),
            // Somebody has ended while he deleted it.
            Err(OriginError::GivenUp { .. }) => {
                savepoint::delete_state(store.as_ref(), "").await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The folder of a savepoint, of a path to it or to its `savepoint.json`.
fn savepoint_folder(path: &str) -> &str {
    path.strip_suffix(savepoint::FILE).map_or(path, |folder| folder.trim_end_matches('/'))
}

/// The job's folder and the manifest's path in it, of a path to a checkpoint: its folder, or its `manifest.json`.
fn checkpoint(path: &str) -> Option<(&str, ObjectPath)> {
    let folder = path.strip_suffix(MANIFEST).map_or(path, |folder| folder.trim_end_matches('/'));
    let (root, below) = folder.rsplit_once("/data/")?;
    let manifest = ObjectPath(format!("data/{below}/{MANIFEST}"));
    parse_folder(&manifest).map(|_| (root, manifest))
}

#[cfg(test)]
mod tests;
