//! Where a source begins that no checkpoint knows yet: every split with its position and its end.
//!
//! ```text
//! data/starts/<epoch>-<lineage>-<digest>.json    of one source; the epoch that the job went on from, or 0
//! ```
//!
//! "The latest record" is another one a minute later. So what it is is found once, before the source is read, and kept here: a
//! job that starts again before its first checkpoint begins where it began, and leaves out nothing that came meanwhile. That
//! holds while the source is the same and begins by the same words of the document, and the job goes on from the same
//! checkpoint, or from none; the first checkpoint has all of it.

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
    checksum::xxh3,
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
#[serde(rename_all = "camelCase")]
struct Kept {
    source: OperatorId,
    /// By what of the document.
    begins_by: String,
    splits: Vec<SplitState>,
}

/// For whom a source begins there.
#[derive(Debug, Clone)]
pub struct Beginner {
    /// The checkpoint that the job goes on from.
    pub restored: Option<Epoch>,
    pub lineage: String,
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

impl Beginner {
    fn path(&self, source: &OperatorId, begins_by: &str) -> ObjectPath {
        let digest = xxh3(format!("{source}\n{begins_by}").as_bytes());
        let epoch = self.restored.unwrap_or_default().0;
        ObjectPath(format!("{DATA}{FOLDER}{epoch:012}-{}-{digest}.json", self.lineage))
    }

    /// What an earlier attempt has found, which came to no checkpoint.
    pub async fn read(
        &self,
        store: &dyn Store,
        source: &OperatorId,
        begins_by: &str,
    ) -> Result<Option<Vec<SplitState>>, StartsError> {
        let path = self.path(source, begins_by);
        let Some(bytes) = store.get(&path).await? else { return Ok(None) };
        let damaged = |cause| StartsError::Damaged { path: path.clone(), cause };
        let kept: Kept = checked_json::from_bytes(&bytes).map_err(damaged)?;
        Ok((kept.source == *source && kept.begins_by == begins_by).then_some(kept.splits))
    }

    /// Keeps what was found, unless somebody was first; gives what is kept. With `anew`, what is there is of a system that is
    /// gone.
    pub async fn keep(
        &self,
        store: &dyn Store,
        source: &OperatorId,
        begins_by: &str,
        splits: Vec<SplitState>,
        anew: bool,
    ) -> Result<Vec<SplitState>, StartsError> {
        let path = self.path(source, begins_by);
        let kept = Kept { source: source.clone(), begins_by: begins_by.to_owned(), splits };
        let bytes = checked_json::to_bytes(&kept).map_err(StartsError::Json)?;
        fault::reach("before-starts");
        let found = if anew {
            store.put(&path, bytes).await?;
            None
        } else if create_bytes(store, &path, &bytes).await? {
            None
        } else {
            self.read(store, source, begins_by).await?
        };
        fault::reach("after-starts");
        Ok(found.unwrap_or(kept.splits))
    }
}

/// Which of `listed` nobody can ask for any more: who goes on from the checkpoint of `restored`, or from a later one, does not.
pub fn garbage(restored: Epoch, listed: &[ObjectPath]) -> impl Iterator<Item = &ObjectPath> {
    listed.iter().filter(move |path| name(path).is_some_and(|(epoch, _)| epoch < restored))
}

/// Whether it is of another lineage: of a job that was begun anew.
pub fn is_of_another(lineage: &str, path: &ObjectPath) -> bool {
    name(path).is_some_and(|(_, rest)| {
        let of = rest.rsplit_once('-').map(|(of, _)| of);
        of != Some(lineage)
    })
}

/// The epoch, and the rest.
fn name(path: &ObjectPath) -> Option<(Epoch, &str)> {
    let name = path.0.strip_prefix(DATA)?.strip_prefix(FOLDER)?;
    let (epoch, rest) = name.split_once('-')?;
    Some((Epoch(epoch.parse().ok()?), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::store::memory::MemoryStore;

    fn splits(next: u64) -> Vec<SplitState> {
        vec![SplitState { split: "orders-0".into(), next, ..SplitState::default() }]
    }

    fn beginner(epoch: u64) -> Beginner {
        Beginner { restored: Some(Epoch(epoch)), lineage: "job-1".into() }
    }

    fn source() -> OperatorId {
        OperatorId("source-orders".into())
    }

    #[tokio::test]
    async fn who_is_first_says_where_a_source_begins() {
        let store = MemoryStore::default();
        let (of, source) = (beginner(0), source());
        assert_eq!(of.path(&source, "orders Latest").0, "data/starts/000000000000-job-1-4fa14b9bfd3067a3.json");
        assert_eq!(of.read(&store, &source, "orders Latest").await.unwrap(), None);
        assert_eq!(of.keep(&store, &source, "orders Latest", splits(7), false).await.unwrap(), splits(7));
        assert_eq!(of.keep(&store, &source, "orders Latest", splits(9), false).await.unwrap(), splits(7));
        assert_eq!(of.read(&store, &source, "orders Latest").await.unwrap(), Some(splits(7)));
        assert_eq!(of.read(&store, &source, "orders Earliest").await.unwrap(), None);
        assert_eq!(beginner(1).read(&store, &source, "orders Latest").await.unwrap(), None);
        assert_eq!(of.keep(&store, &source, "orders Latest", splits(9), true).await.unwrap(), splits(9));
        assert_eq!(of.read(&store, &source, "orders Latest").await.unwrap(), Some(splits(9)));
    }

    #[tokio::test]
    async fn another_digit_in_a_position_is_damage() {
        let store = MemoryStore::default();
        let of = beginner(4);
        of.keep(&store, &source(), "orders Latest", splits(7), false).await.unwrap();
        let path = of.path(&source(), "orders Latest");
        let bytes = store.get(&path).await.unwrap().unwrap();
        let changed = String::from_utf8(bytes.to_vec()).unwrap().replace("\"next\": 7", "\"next\": 8");
        store.put(&path, changed.into()).await.unwrap();
        let error = of.read(&store, &source(), "orders Latest").await.unwrap_err();
        assert_eq!(error.reason(), FailureReason::StateUnfit);
        assert!(error.to_string().contains(&path.0) && error.to_string().contains("was changed"), "{error}");
    }

    #[test]
    fn what_nobody_can_ask_for_is_garbage() {
        let of = |epoch| beginner(epoch).path(&source(), "orders Latest");
        let listed = [of(0), of(3), of(4), of(5), ObjectPath("data/00000001/000000000001/state.arrow".into())];
        assert_eq!(garbage(Epoch(4), &listed).collect::<Vec<_>>(), [&of(0), &of(3)]);
        assert_eq!(garbage(Epoch(0), &listed).count(), 0);
        assert!(!is_of_another("job-1", &of(0)) && is_of_another("job-2", &of(0)) && is_of_another("job", &of(0)));
        assert!(!is_of_another("job-2", &listed[4]));
    }
}
