//! Reading state back: for each subtask, what the former subtasks that shared its key groups have left. What the process
//! still has of it is not read again ([`Supply`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use thiserror::Error;
use tidegate_crds::{StateBackend, api::FailureReason};

use super::{supply::Supply, tables};
use crate::{
    checkpoint::{
        manifest::{FileRef, Manifest, OperatorState, PartRef, StateKind, SubtaskState},
        record::Trigger,
    },
    failure::Reason,
    ids::{Epoch, OperatorId, SubtaskIndex},
    job::JobPlan,
    operator::{KeyRange, RestoredPart, RestoredState},
    source::SplitState,
    state::{
        Backend, StateError,
        file::{self, FileError, LocalRows},
        table::{TableError, rocks::Downloaded},
    },
};

mod columns;

pub use self::columns::SourceColumns;

/// Files that are downloaded at the same time.
const DOWNLOADS: usize = 8;
/// Tables that are downloaded at the same time.
const TABLES: usize = 4;

/// The state of all operators, rows included.
#[derive(Debug, Default)]
pub struct Restored {
    operators: BTreeMap<OperatorId, OperatorState>,
    files: BTreeMap<FileRef, Loaded>,
    /// By operator and former subtask.
    tables: BTreeMap<(OperatorId, u32), Downloaded>,
    max_parallelism: u32,
}

/// A file of rows, or a piece of one.
#[derive(Debug)]
enum Loaded {
    /// By place in the file: those that are wanted, or all.
    Memory(BTreeMap<u32, RecordBatch>),
    /// Read when a subtask takes it over: there may be more of them than memory.
    Local(Arc<LocalRows>),
}

#[derive(Debug, Error)]
pub enum RestoreError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the checkpoint is damaged: `{file}` has {found} batches, the manifest names batch {wanted}")]
    Batch { file: FileRef, found: usize, wanted: u32 },
    #[error("the checkpoint is damaged: the splits of `{operator}`")]
    Splits {
        operator: OperatorId,
        #[source]
        cause: serde_json::Error,
    },
    #[error(
        "source `{source_name}`: its column `{column}` was {found} in the checkpoint and is {wanted}. A number in a record \
         would be read in another unit, and the times that are remembered are of the former; set it back, or add a column \
         under another name"
    )]
    Precision { source_name: String, column: String, found: String, wanted: String },
    #[error(
        "source `{source_name}`: its event time was `{found}` in the checkpoint and is `{wanted}`. Rows were put into windows, \
         and the watermark was set, by the former; set it back, or begin without state, under another `jobId`"
    )]
    EventTime { source_name: String, found: String, wanted: String },
    #[error(
        "`{operator}` has state of rows of source `{found}`, and reads source `{wanted}` now: rows of two sources would be \
         taken for those of one. Set it back; or give the view that it reads, or the source, another name and drop the \
         state by `allowNonRestoredState: true`"
    )]
    Source { operator: OperatorId, found: String, wanted: String },
    #[error(
        "`{operator}` has state in a checkpoint of an earlier version of Tidegate, which did not tell of which source its \
         rows are, and reads source `{wanted}` now, which the checkpoint does not have. Run this version with the SQL of \
         before until it has taken a checkpoint, and change it then"
    )]
    UntoldSource { operator: OperatorId, wanted: String },
    #[error("the checkpoint is damaged: the columns of `{operator}`")]
    Columns {
        operator: OperatorId,
        #[source]
        cause: serde_json::Error,
    },
    #[error(
        "spec.maxParallelism: found {found}; the checkpoint was taken with {fixed}, and key groups can't change: set {fixed}"
    )]
    MaxParallelism { found: u32, fixed: u32 },
    #[error(
        "the checkpoint has state that would be lost, since the job does not have its operator: {}. An operator is known \
         by what it goes by (the length of a window, its keys, the name of the view it reads) and by the view or INSERT \
         that it is written in: take that change back, or drop the state by `allowNonRestoredState: true`",
        homeless(.operators)
    )]
    Homeless { operators: Vec<Homeless> },
    #[error(
        "two operators of the checkpoint, `{one}` and `{other}`, are one now, `{now}`, since what they compute has become the \
         same; their states can't be put together: let them differ, or begin without this state, under another `jobId`"
    )]
    Joined { now: OperatorId, one: OperatorId, other: OperatorId },
    #[error(
        "the state was drained: windows that were open at epoch {epoch} have been put out with what they held, and would \
         be put out again with what comes; begin without state, under another `jobId`"
    )]
    Drained { epoch: Epoch },
    #[error(
        "`{operator}` has seen the end of its sources and put out then what it held back, and source `{source_name}` now \
         has more to read, all of which would be late; let the source end where it did (`until`, `count`), or begin \
         without state, under another `jobId`"
    )]
    Ended { operator: OperatorId, source_name: String },
}

/// An operator of a checkpoint that a job does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homeless {
    pub operator: OperatorId,
    pub kind: StateKind,
    /// What the job has instead, of the same kind and without state in the checkpoint.
    pub successors: Vec<OperatorId>,
}

fn homeless(operators: &[Homeless]) -> String {
    let described = operators.iter().map(|Homeless { operator, kind, successors }| {
        let names: Vec<String> = successors.iter().map(|name| format!("`{name}`")).collect();
        let renamed = if names.is_empty() { String::new() } else { format!(", renamed to {}?", names.join(" or ")) };
        let rows = match kind {
            StateKind::InFlight => ": rows on their way, which no savepoint has",
            StateKind::Source => {
                ": how far it has read; without, a source reads from `startFrom`, and what was read before is put out again"
            }
            _ => "",
        };
        format!("`{operator}` ({kind:?}{renamed}{rows})")
    });
    described.collect::<Vec<_>>().join(", ")
}

/// What a job can take from a checkpoint.
#[derive(Debug, Clone)]
pub struct Takes {
    /// Its operators that have state.
    pub operators: BTreeMap<OperatorId, StateKind>,
    pub max_parallelism: u32,
    /// State of other operators is left behind.
    pub drops_the_rest: bool,
}

impl Takes {
    pub fn of(plan: &JobPlan) -> Self {
        Self {
            operators: plan.graph.stateful().collect(),
            max_parallelism: plan.spec.max_parallelism,
            drops_the_rest: plan.spec.allow_non_restored_state,
        }
    }

    /// Of these operators only. For a job that can have the whole checkpoint.
    #[must_use]
    pub fn only(mut self, operators: &BTreeSet<OperatorId>) -> Self {
        self.operators.retain(|id, _| operators.contains(id));
        self.drops_the_rest = true;
        self
    }

    /// Whether the job can have what the manifest names, as far as the manifest tells.
    pub fn fits(&self, manifest: &Manifest) -> Result<(), RestoreError> {
        if manifest.trigger == Trigger::Drain {
            return Err(RestoreError::Drained { epoch: manifest.epoch });
        }
        if manifest.max_parallelism != self.max_parallelism {
            return Err(RestoreError::MaxParallelism { found: self.max_parallelism, fixed: manifest.max_parallelism });
        }
        let homeless: Vec<Homeless> = manifest
            .operators
            .iter()
            .filter(|state| !self.has(state))
            .map(|state| {
                let is_new =
                    |(id, kind): &(&OperatorId, &StateKind)| **kind == state.kind && manifest.operator(id).is_none();
                let successors = self.operators.iter().filter(is_new).map(|(id, _)| id.clone()).collect();
                Homeless { operator: state.id.clone(), kind: state.kind, successors }
            })
            .collect();
        if !homeless.is_empty() && !self.drops_the_rest {
            return Err(RestoreError::Homeless { operators: homeless });
        }
        if !homeless.is_empty() {
            tracing::warn!(
                epoch = %manifest.epoch,
                operators = self::homeless(&homeless),
                "the job drops this state, as `allowNonRestoredState` says"
            );
        }
        Ok(())
    }

    /// Whether the job has the operator.
    fn has(&self, state: &OperatorState) -> bool {
        self.operators.get(&state.id) == Some(&state.kind)
    }
}

impl Reason for RestoreError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::State(error) => error.reason(),
            Self::Batch { .. }
            | Self::Splits { .. }
            | Self::Precision { .. }
            | Self::EventTime { .. }
            | Self::Source { .. }
            | Self::UntoldSource { .. }
            | Self::Columns { .. }
            | Self::MaxParallelism { .. }
            | Self::Homeless { .. }
            | Self::Joined { .. }
            | Self::Drained { .. }
            | Self::Ended { .. } => FailureReason::StateUnfit,
        }
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
    /// Gets what the manifest names for some key groups.
    pub async fn load(
        supply: &Supply,
        manifest: &Manifest,
        takes: &Takes,
        ranges: &[KeyRange],
        backend: &Backend,
    ) -> Result<Self, RestoreError> {
        takes.fits(manifest)?;
        let max_parallelism = takes.max_parallelism;
        let states: Vec<&OperatorState> = manifest.operators.iter().filter(|state| takes.has(state)).collect();
        let wanted = |state: &OperatorState, index: u32| {
            let former = former(state, index, max_parallelism);
            ranges.iter().any(|range| overlap(*range, former))
        };
        let subtasks = states.iter().flat_map(|state| {
            (0..).zip(&state.subtasks).filter(move |(index, _)| wanted(state, *index)).map(|(_, subtask)| subtask)
        });
        let parts = subtasks.flat_map(|subtask| &subtask.parts);
        let mut by_file: BTreeMap<&FileRef, Vec<&PartRef>> = BTreeMap::new();
        parts.for_each(|part| by_file.entry(&part.file).or_default().push(part));
        let files = load_files(supply, by_file.into_values().collect(), backend).await?;
        let tables = states.iter().flat_map(|state| {
            let subtasks = (0..).zip(&state.subtasks).filter(|(index, _)| wanted(state, *index));
            subtasks.filter(|(_, subtask)| !subtask.table.is_empty()).map(move |(index, subtask)| {
                let groups = former(state, index, max_parallelism).groups();
                ((state.id.clone(), index), groups, subtask.table.clone())
            })
        });
        let tables = stream::iter(tables.collect::<Vec<_>>())
            .map(|(whose, groups, files)| async move {
                let engine = backend.engine().map_err(StateError::from)?;
                let table = tables::download(supply, &engine, files, groups).await?;
                Ok::<_, RestoreError>((whose, table))
            })
            .buffer_unordered(TABLES)
            .try_collect()
            .await?;
        let operators = states.into_iter().map(|state| (state.id.clone(), state.clone())).collect();
        Ok(Self { operators, files, tables, max_parallelism })
    }

    /// The splits of a source, of all its former subtasks; `None` if the checkpoint does not know the source.
    pub fn splits(&self, source: &OperatorId) -> Result<Option<Vec<SplitState>>, RestoreError> {
        self.operators.get(source).map(splits).transpose()
    }

    /// What a keyed subtask takes over.
    pub fn keyed(&self, operator: &OperatorId, range: KeyRange) -> Result<Vec<RestoredState>, RestoreError> {
        let Some(state) = self.operators.get(operator) else { return Ok(Vec::new()) };
        let mut seen = BTreeSet::new();
        (0..)
            .zip(&state.subtasks)
            .filter(|(index, _)| overlap(range, former(state, *index, self.max_parallelism)))
            .map(|(index, subtask)| {
                let table = self.tables.get(&(operator.clone(), index)).cloned();
                let parts = self.rows(subtask, &mut seen)?;
                let groups = former(state, index, self.max_parallelism).groups();
                Ok(RestoredState { groups, value: subtask.value.clone(), parts, table })
            })
            .collect()
    }

    fn rows(
        &self,
        subtask: &SubtaskState,
        seen: &mut BTreeSet<(FileRef, u32)>,
    ) -> Result<Vec<RestoredPart>, RestoreError> {
        let mut parts = Vec::new();
        for reference in &subtask.parts {
            // After a rescale, several former subtasks may name the same rows.
            if !seen.insert((reference.file.clone(), reference.batch)) {
                continue;
            }
            let missing = |found| RestoreError::Batch { file: reference.file.clone(), found, wanted: reference.batch };
            parts.push(match self.files.get(&reference.file).ok_or_else(|| missing(0))? {
                Loaded::Memory(batches) => {
                    let batch = batches.get(&reference.batch).cloned();
                    RestoredPart::new(reference.clone(), batch.ok_or_else(|| missing(batches.len()))?)
                }
                Loaded::Local(rows) => RestoredPart::local(reference.clone(), rows.clone()),
            });
        }
        Ok(parts)
    }
}

/// The splits of a source, of all its subtasks.
pub(super) fn splits(source: &OperatorState) -> Result<Vec<SplitState>, RestoreError> {
    let mut splits = Vec::new();
    for subtask in &source.subtasks {
        let own: Vec<SplitState> = serde_json::from_value(subtask.value["splits"].clone())
            .map_err(|cause| RestoreError::Splits { operator: source.id.clone(), cause })?;
        splits.extend(own);
    }
    Ok(splits)
}

/// Gets files of rows, each with the parts that are wanted of it. Those that have to be downloaded go into memory, where
/// their operators keep them anyway, or to the local disk, if the backend is there or if they are too many.
async fn load_files(
    supply: &Supply,
    files: Vec<Vec<&PartRef>>,
    backend: &Backend,
) -> Result<BTreeMap<FileRef, Loaded>, RestoreError> {
    let (mut loaded, mut lacking) = (BTreeMap::new(), Vec::new());
    for parts in files {
        let Some(file) = parts.first().map(|part| &part.file) else { continue };
        match supply.rows(&parts) {
            Some(rows) => {
                loaded.insert(file.clone(), Loaded::Memory(rows));
            }
            None => lacking.push(file.clone()),
        }
    }
    let bytes: u64 = lacking.iter().map(|file| file.bytes).sum();
    let local = match backend.kind() {
        _ if lacking.is_empty() => None,
        StateBackend::Memory if bytes <= backend.budget().bytes() / 2 => None,
        StateBackend::Memory | StateBackend::RocksDb => {
            let engine = backend.engine().map_err(StateError::from)?;
            let folder = Arc::new(engine.scratch("rows").map_err(TableError::from).map_err(StateError::from)?);
            Some((engine, folder))
        }
    };
    let local = &local;
    let downloaded: Vec<(FileRef, Loaded)> = stream::iter(lacking.into_iter().enumerate())
        .map(|(number, file)| async move {
            let loaded = match local {
                None => {
                    let bytes = supply.fetch(&file).await.map_err(StateError::from)?;
                    let (_, batches) = file::decode(bytes).map_err(FileError::from).map_err(StateError::from)?;
                    Loaded::Memory((0..).zip(batches).collect())
                }
                Some((engine, folder)) => {
                    Loaded::Local(Arc::new(tables::download_rows(supply, engine, &file, folder, number).await?))
                }
            };
            Ok::<_, RestoreError>((file, loaded))
        })
        .buffer_unordered(DOWNLOADS)
        .try_collect()
        .await?;
    loaded.extend(downloaded);
    Ok(loaded)
}

#[cfg(test)]
mod tests;
