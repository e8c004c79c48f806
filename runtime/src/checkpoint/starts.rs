//! Where sources begin that no checkpoint knows yet: every split with its position and its end.
//!
//! ```text
//! data/starts/<epoch>-<lineage>-<digest of the document>.json    what the job went on from, or 0
//! ```
//!
//! "The latest record" and "all files" are others a minute later. So what they are is found once, before any source reads,
//! and kept here: a job that restarts before its first checkpoint begins where it began, and leaves out nothing that came
//! meanwhile. That holds while the same document goes on from the same checkpoint, or from none; the first checkpoint has
//! all of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::{
    checked_json,
    journal::create_bytes,
    manifest::DATA,
    store::{ObjectPath, Store, StoreError},
};
use crate::{
    failure::Reason,
    fault,
    ids::{Epoch, OperatorId},
    source::SplitState,
};

const FOLDER: &str = "starts/";

/// The splits of all subtasks, by source.
pub type Starts = BTreeMap<OperatorId, Vec<SplitState>>;

/// As it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    sources: Starts,
}

#[derive(Debug, Error)]
pub enum StartsError {
    #[error(
        "`{path}`, where the sources began, is damaged: {cause}; bring it back from a copy of the storage, or delete it: no \
         checkpoint has what was read from there, and the sources then begin by `startFrom` once more"
    )]
    Damaged { path: ObjectPath, cause: serde_json::Error },
    #[error("failed to write where the sources begin as JSON")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reason for StartsError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Damaged { .. } => FailureReason::StateUnfit,
            Self::Json(_) => FailureReason::TaskFailed,
            Self::Store(error) => error.reason(),
        }
    }
}

/// For a document that goes on from the checkpoint of an epoch, or from none.
pub fn path(restored: Option<Epoch>, lineage: &str, spec_digest: &str) -> ObjectPath {
    ObjectPath(format!("{DATA}{FOLDER}{:012}-{lineage}-{spec_digest}.json", restored.unwrap_or_default().0))
}

/// What an earlier attempt has found, which came to no checkpoint.
pub async fn read(store: &dyn Store, path: &ObjectPath) -> Result<Option<Starts>, StartsError> {
    let Some(bytes) = store.get(path).await? else { return Ok(None) };
    let kept: Kept =
        checked_json::from_bytes(&bytes).map_err(|cause| StartsError::Damaged { path: path.clone(), cause })?;
    Ok(Some(kept.sources))
}

/// Keeps what was found, unless somebody was first; gives what is kept. With `anew`, what is there is of systems that are
/// gone.
pub async fn keep(store: &dyn Store, path: &ObjectPath, sources: Starts, anew: bool) -> Result<Starts, StartsError> {
    let kept = Kept { sources };
    let bytes = checked_json::to_bytes(&kept).map_err(StartsError::Json)?;
    fault::reach("before-starts");
    let found = if anew {
        store.put(path, bytes).await?;
        None
    } else if create_bytes(store, path, &bytes).await? {
        None
    } else {
        read(store, path).await?
    };
    fault::reach("after-starts");
    Ok(found.unwrap_or(kept.sources))
}

/// Which of `listed` nobody can ask for any more: who goes on from the checkpoint of `restored`, or from a later one, does not.
pub fn garbage(restored: Epoch, listed: &[ObjectPath]) -> impl Iterator<Item = &ObjectPath> {
    listed.iter().filter(move |path| epoch_of(path).is_some_and(|epoch| epoch < restored))
}

fn epoch_of(path: &ObjectPath) -> Option<Epoch> {
    let name = path.0.strip_prefix(DATA)?.strip_prefix(FOLDER)?;
    name.split('-').next()?.parse().ok().map(Epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::store::memory::MemoryStore;

    fn starts(next: u64) -> Starts {
        let split = SplitState { split: "orders-0".into(), next, ..SplitState::default() };
        Starts::from([(OperatorId("orders".into()), vec![split])])
    }

    #[tokio::test]
    async fn who_is_first_says_where_the_sources_begin() {
        let store = MemoryStore::default();
        let path = path(None, "job-1", "ab12");
        assert_eq!(path.0, "data/starts/000000000000-job-1-ab12.json");
        assert_eq!(read(&store, &path).await.unwrap(), None);
        assert_eq!(keep(&store, &path, starts(7), false).await.unwrap(), starts(7));
        assert_eq!(keep(&store, &path, starts(9), false).await.unwrap(), starts(7));
        assert_eq!(read(&store, &path).await.unwrap(), Some(starts(7)));
        assert_eq!(keep(&store, &path, starts(9), true).await.unwrap(), starts(9));
        assert_eq!(read(&store, &path).await.unwrap(), Some(starts(9)));
    }

    #[tokio::test]
    async fn another_digit_in_a_position_is_damage() {
        let store = MemoryStore::default();
        let path = path(Some(Epoch(4)), "job-1", "ab12");
        keep(&store, &path, starts(7), false).await.unwrap();
        let bytes = store.get(&path).await.unwrap().unwrap();
        let changed = String::from_utf8(bytes.to_vec()).unwrap().replace("\"next\": 7", "\"next\": 8");
        store.put(&path, changed.into()).await.unwrap();
        let error = read(&store, &path).await.unwrap_err();
        assert_eq!(error.reason(), FailureReason::StateUnfit);
        assert!(error.to_string().contains(&path.0) && error.to_string().contains("was changed"), "{error}");
    }

    #[test]
    fn what_older_checkpoints_were_gone_on_from_with_is_garbage() {
        let of = |epoch| path(Some(Epoch(epoch)), "a-b-7", "ab12");
        let listed = [of(0), of(3), of(4), of(5), ObjectPath("data/00000001/000000000001/state.arrow".into())];
        assert_eq!(garbage(Epoch(4), &listed).collect::<Vec<_>>(), [&of(0), &of(3)]);
        assert_eq!(garbage(Epoch(0), &listed).count(), 0);
    }
}
