//! Reading state back: for each subtask, what the former subtasks that shared its key groups have left.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use crate::{
    checkpoint::{
        manifest::{FileRef, Manifest, OperatorState, SubtaskState},
        store::{ObjectPath, Store},
    },
    failure::Reason,
    ids::{OperatorId, SubtaskIndex},
    operator::{KeyRange, RestoredPart, RestoredState},
    source::SplitState,
    state::file::{self, FileError},
};

/// Files that are downloaded at the same time.
const DOWNLOADS: usize = 8;

/// The state of all operators, rows included.
#[derive(Debug, Default)]
pub struct Restored {
    operators: BTreeMap<OperatorId, OperatorState>,
    files: BTreeMap<ObjectPath, Vec<RecordBatch>>,
    max_parallelism: u32,
}

#[derive(Debug, Error)]
pub enum RestoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the checkpoint is damaged: `{file}` has {found} batches, the manifest names batch {wanted}")]
    Batch { file: ObjectPath, found: usize, wanted: u32 },
    #[error("the checkpoint is damaged: the splits of `{operator}`")]
    Splits {
        operator: OperatorId,
        #[source]
        cause: serde_json::Error,
    },
    #[error(
        "spec.maxParallelism: found {found}; the checkpoint was taken with {fixed}, and key groups can't change: set {fixed}"
    )]
    MaxParallelism { found: u32, fixed: u32 },
    #[error(
        "the checkpoint has state of `{operator}`, which the changed job does not have, so that this state would be \
         lost: an operator is named by what it computes (the length of a window, its keys, the name of the view it \
         reads); take that change back, or begin without state under another `jobId`"
    )]
    Homeless { operator: OperatorId },
}

impl Reason for RestoreError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::File(error) => error.reason(),
            Self::Batch { .. } | Self::Splits { .. } | Self::MaxParallelism { .. } | Self::Homeless { .. } => {
                FailureReason::StateUnfit
            }
        }
    }
}

/// Whether a job with these operators can have the state that the manifest names, as far as the manifest tells.
pub fn fits(manifest: &Manifest, operators: &[OperatorId], max_parallelism: u32) -> Result<(), RestoreError> {
    if manifest.max_parallelism != max_parallelism {
        return Err(RestoreError::MaxParallelism { found: max_parallelism, fixed: manifest.max_parallelism });
    }
    match manifest.operators.iter().find(|state| !operators.contains(&state.id)) {
        Some(state) => Err(RestoreError::Homeless { operator: state.id.clone() }),
        None => Ok(()),
    }
}

/// The key groups that a former subtask had.
fn former(state: &OperatorState, index: u32, max_parallelism: u32) -> KeyRange {
    KeyRange { subtask: SubtaskIndex(index), parallelism: state.subtasks.len() as u32, max_parallelism }
}

fn overlap(one: KeyRange, other: KeyRange) -> bool {
    let (one, other) = (one.groups(), other.groups());
    one.start < other.end && other.start < one.end
}

impl Restored {
    /// Downloads what the manifest names for some key groups. `operators` are the job's.
    pub async fn load(
        store: &Arc<dyn Store>,
        manifest: &Manifest,
        operators: &[OperatorId],
        ranges: &[KeyRange],
    ) -> Result<Self, RestoreError> {
        let max_parallelism = ranges.first().map_or(manifest.max_parallelism, |range| range.max_parallelism);
        fits(manifest, operators, max_parallelism)?;
        let wanted = |state: &OperatorState, index: u32| {
            let former = former(state, index, max_parallelism);
            ranges.iter().any(|range| overlap(*range, former))
        };
        let subtasks = manifest.operators.iter().flat_map(|state| {
            (0..).zip(&state.subtasks).filter(move |(index, _)| wanted(state, *index)).map(|(_, subtask)| subtask)
        });
        let parts = subtasks.flat_map(|subtask| &subtask.parts);
        let wanted: BTreeMap<ObjectPath, FileRef> =
            parts.map(|part| (part.file.path.clone(), part.file.clone())).collect();
        let files = stream::iter(wanted)
            .map(|(path, file)| async move {
                let (_, batches) = file::read(store, &file).await?;
                Ok::<_, RestoreError>((path, batches))
            })
            .buffer_unordered(DOWNLOADS)
            .try_collect()
            .await?;
        let operators = manifest.operators.iter().map(|state| (state.id.clone(), state.clone())).collect();
        Ok(Self { operators, files, max_parallelism })
    }

    /// The splits of a source, of all its former subtasks; `None` if the checkpoint does not know the source.
    pub fn splits(&self, source: &OperatorId) -> Result<Option<Vec<SplitState>>, RestoreError> {
        let Some(state) = self.operators.get(source) else { return Ok(None) };
        let mut splits = Vec::new();
        for subtask in &state.subtasks {
            let own: Vec<SplitState> = serde_json::from_value(subtask.value["splits"].clone())
                .map_err(|cause| RestoreError::Splits { operator: source.clone(), cause })?;
            splits.extend(own);
        }
        Ok(Some(splits))
    }

    /// What a keyed subtask takes over.
    pub fn keyed(&self, operator: &OperatorId, range: KeyRange) -> Result<Vec<RestoredState>, RestoreError> {
        let Some(state) = self.operators.get(operator) else { return Ok(Vec::new()) };
        let mut seen = std::collections::BTreeSet::new();
        (0..)
            .zip(&state.subtasks)
            .filter(|(index, _)| overlap(range, former(state, *index, self.max_parallelism)))
            .map(|(_, subtask)| self.rows(subtask, &mut seen))
            .collect()
    }

    fn rows(
        &self,
        subtask: &SubtaskState,
        seen: &mut std::collections::BTreeSet<(ObjectPath, u32)>,
    ) -> Result<RestoredState, RestoreError> {
        let mut parts = Vec::new();
        for reference in &subtask.parts {
            // After a rescale, several former subtasks may name the same rows.
            if !seen.insert((reference.file.path.clone(), reference.batch)) {
                continue;
            }
            let batches = self.files.get(&reference.file.path).map_or(&[][..], Vec::as_slice);
            let batch = batches.get(reference.batch as usize).cloned().ok_or_else(|| RestoreError::Batch {
                file: reference.file.path.clone(),
                found: batches.len(),
                wanted: reference.batch,
            })?;
            parts.push(RestoredPart { reference: reference.clone(), batch });
        }
        Ok(RestoredState { value: subtask.value.clone(), parts })
    }
}
