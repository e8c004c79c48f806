//! Whether a job can go on from a checkpoint of another version of it, found out before anything is taken or stopped.
//!
//! What the manifest tells is checked as a whole: key groups, operators, splits. What only the state itself tells, such
//! as how many columns a window's partial results have, is tried on a sample: of each kind of state of an operator its
//! smallest file is loaded, and the operator built with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use futures::future::join_all;
use tidegate_crds::{
    RestoreMode, StateBackend,
    api::{Failure, FailureReason},
};
use tokio::runtime::Handle;

use super::{
    adopt::adopt,
    deploy::DeployError,
    in_flight, past_the_end,
    restore::{Restored, Takes},
    supply::Supply,
};
use crate::{
    checkpoint::{
        claim::{Heir, read_newest},
        committed::Committed,
        destination,
        manifest::{FileRef, Manifest},
        origin::{Beginner, Origin},
        pack::Packer,
        record::CheckpointRef,
        store::{self, Store},
    },
    error_chain,
    failure::Reason,
    graph::NodeKind,
    ids::{Epoch, SubtaskIndex},
    job::{JobPlan, SinkTarget},
    memory::MemoryLimit,
    operator::{
        KeyRange,
        build::{Context, build},
    },
    state::{Backend, WriteAhead},
};

/// Larger files are only looked at when the job is recovered.
const LARGEST_SAMPLE: u64 = 64 << 20;

#[async_trait]
impl Heir for JobPlan {
    async fn beginning(&self, own: &Arc<dyn Store>) -> Result<Option<CheckpointRef>, Failure> {
        let Some(from) = &self.spec.restore_from else { return Ok(None) };
        let copied = Origin::find_and_copy(&from.path, &self.spec.checkpoint.storage, own, &self.id, self).await;
        copied.map(Some).map_err(of_path)
    }

    async fn fits(&self, store: &Arc<dyn Store>, manifest: &Manifest) -> Result<(), Failure> {
        rehearse(self, store, manifest).await.map_err(|error| error.failure())
    }

    fn publishes(&self, manifest: &Manifest, committed: &Committed) -> Result<(), Failure> {
        let checked = destination::check(manifest, committed, &self.destinations());
        checked.map_err(|error| Failure { reason: FailureReason::StateUnfit, message: error.to_string() })
    }

    async fn compare(&self, owned: Epoch, lineage: &str) -> Result<(), Failure> {
        let published = self.sinks.values().filter_map(|target| match target {
            SinkTarget::Published(publisher) => Some(publisher.compare(owned, lineage)),
            SinkTarget::Direct(_) => None,
        });
        for compared in join_all(published).await {
            match compared {
                Err(error) if error.reason().may_pass() => {
                    let cause = error_chain(&error);
                    tracing::warn!(cause, "a sink can't be compared with the log yet, and is when rows are published");
                }
                compared => compared.map_err(|error| error.failure())?,
            }
        }
        Ok(())
    }
}

/// What a start of a job would go on from.
#[derive(Debug, PartialEq, Eq)]
pub enum Outlook {
    Nothing,
    /// Its own newest checkpoint, at a location.
    Own {
        at: String,
        epoch: Epoch,
    },
    /// A copy of what is at a location.
    Copy {
        of: String,
        epoch: Epoch,
    },
}

/// What a start of the job would go on from, found out and tried as a start would; nothing is written.
pub async fn outlook(plan: &JobPlan) -> Result<Outlook, Failure> {
    let store = store::open(&plan.spec.checkpoint.storage, &plan.id).await.map_err(|error| error.failure())?;
    let log = read_newest(store.as_ref()).await.map_err(|error| error.failure())?;
    if let Some(log) = log
        && let Some(newest) = &log.checkpoint
    {
        let manifest = Manifest::read(store.as_ref(), newest).await.map_err(|error| error.failure())?;
        plan.fits(&store, &manifest).await?;
        plan.publishes(&manifest, &log.committed)?;
        plan.compare(manifest.epoch, &log.lineage).await?;
        return Ok(Outlook::Own { at: store.location(), epoch: manifest.epoch });
    }
    let copy = |origin: Origin| Outlook::Copy { of: origin.store.location(), epoch: origin.manifest.epoch };
    Ok(origin(plan).await?.map_or(Outlook::Nothing, copy))
}

/// The sinks that a start of the job would publish rows to which may be there already.
pub async fn awaited(plan: &JobPlan) -> Result<BTreeSet<String>, Failure> {
    let store = store::open(&plan.spec.checkpoint.storage, &plan.id).await.map_err(|error| error.failure())?;
    let Some(log) = read_newest(store.as_ref()).await.map_err(|error| error.failure())? else {
        return Ok(BTreeSet::new());
    };
    let awaited =
        destination::awaited(store.as_ref(), log.checkpoint.as_ref(), &log.committed, &plan.destinations()).await;
    awaited.map_err(|error| error.failure())
}

/// What `restoreFrom` names, if it does, and the job can begin with.
async fn origin(plan: &JobPlan) -> Result<Option<Origin>, Failure> {
    let Some(from) = &plan.spec.restore_from else { return Ok(None) };
    let origin = Origin::find(&from.path, &plan.spec.checkpoint.storage).await;
    let origin = origin.map_err(|error| of_path(error.failure()))?;
    plan.begins_with(&origin).await.map_err(of_path)?;
    Ok(Some(origin))
}

#[async_trait]
impl Beginner for JobPlan {
    async fn begins_with(&self, origin: &Origin) -> Result<(), Failure> {
        let (from, epoch) = (origin.store.location(), origin.manifest.epoch);
        let is_to_be_claimed = self.spec.restore_from.as_ref().is_some_and(|from| from.mode == RestoreMode::Claim);
        if is_to_be_claimed && !origin.is_savepoint {
            let message = format!("{from} is no savepoint; accepted is `mode: NoClaim`");
            return Err(Failure { reason: FailureReason::StateUnfit, message });
        }
        rehearse(self, &origin.store, &origin.manifest).await.map_err(|error| error.failure())?;
        tracing::info!(from, %epoch, "the job can begin with a copy of this state");
        Ok(())
    }
}

fn of_path(failure: Failure) -> Failure {
    Failure { message: format!("spec.restoreFrom.path: {}", failure.message), ..failure }
}

async fn rehearse(plan: &JobPlan, store: &Arc<dyn Store>, manifest: &Manifest) -> Result<(), DeployError> {
    let takes = Takes::of(plan);
    let manifest = adopt(manifest, &plan.graph)?;
    takes.fits(&manifest)?;
    past_the_end::check(plan, &manifest)?;
    let sample = sample(manifest);
    let range = KeyRange { subtask: SubtaskIndex(0), parallelism: 1, max_parallelism: takes.max_parallelism };
    // In memory, and nothing is written: whether its rows fit does not depend on where they will be.
    let backend = Backend::new(StateBackend::Memory, PathBuf::new(), MemoryLimit::of_this_process());
    let restored = Restored::load(&Supply::remote(store.clone()), &sample, &takes, &[range], &backend).await?;
    let packer = Packer::new(store.clone(), Handle::current(), backend.memory().for_uploads());
    let ahead = |name: &str| WriteAhead::new(packer.clone(), Handle::current(), name.to_owned());
    let context = Context { plan, range, restored: &restored, backend: &backend, ahead: &ahead };
    for node in &plan.graph.nodes {
        match &node.kind {
            NodeKind::Source { source, .. } => {
                let Some(table) = plan.source(source) else { continue };
                restored.reads_times_as_before(plan, node, table)?;
                if let Some(splits) = restored.splits(&node.id)? {
                    table.source.fits(&splits)?;
                }
            }
            NodeKind::Deduplicate { .. } | NodeKind::WindowAggregate(_) => {
                build(node, &context)?;
                in_flight::restored(plan, node, &restored, range)?;
            }
            NodeKind::Map { .. } | NodeKind::Sink { .. } => {}
        }
    }
    Ok(())
}

/// The manifest with one part, of the smallest file, of each kind of state of an operator.
fn sample(mut manifest: Manifest) -> Manifest {
    for operator in &mut manifest.operators {
        let mut smallest: BTreeMap<String, FileRef> = BTreeMap::new();
        for part in operator.subtasks.iter().flat_map(|subtask| &subtask.parts) {
            let known = smallest.entry(part.kind.clone()).or_insert_with(|| part.file.clone());
            if part.file.bytes < known.bytes {
                *known = part.file.clone();
            }
        }
        smallest.retain(|_, file| file.bytes <= LARGEST_SAMPLE);
        for subtask in &mut operator.subtasks {
            // What a table has, and whether it is ours, its subtask's value says.
            subtask.table.clear();
            subtask.parts.retain(|part| {
                let is_smallest = smallest.get(&part.kind).is_some_and(|file| *file == part.file);
                // One is enough.
                is_smallest && smallest.remove(&part.kind).is_some()
            });
        }
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::{
            destination::Destinations,
            manifest::{OperatorState, PartRef, StateKind, SubtaskState},
            record::Trigger,
            store::ObjectPath,
        },
        ids::{Attempt, Epoch, OperatorId, Revision},
    };

    fn part(kind: &str, file: &str, bytes: u64, batch: u32) -> PartRef {
        let file = FileRef { path: ObjectPath(file.into()), offset: None, bytes, xxh3: String::new() };
        PartRef { kind: kind.into(), tag: 0, rows: 1, file, batch }
    }

    #[test]
    fn a_sample_has_one_part_of_each_kind_of_the_smallest_file_and_no_large_one() {
        let subtask = |parts| SubtaskState { value: "kept".into(), parts, table: Vec::new() };
        let operator = |id: &str, subtasks| OperatorState {
            id: OperatorId(id.into()),
            kind: StateKind::Deduplicate,
            written_as: None,
            subtasks,
        };
        let small = [part("keys", "b", 20, 0), part("keys", "b", 20, 1), part("waiting", "c", 30, 0)];
        let manifest = Manifest {
            format: Manifest::FORMAT,
            job: "job".into(),
            lineage: "lineage".into(),
            epoch: Epoch(1),
            attempt: Attempt(1),
            revision: Revision(1),
            trigger: Trigger::Interval,
            max_parallelism: 128,
            created_at_ms: 0,
            operators: vec![
                operator("first", vec![subtask(vec![part("keys", "a", 50, 0)]), subtask(small.to_vec())]),
                operator("second", vec![subtask(vec![part("partial", "d", LARGEST_SAMPLE + 1, 0)])]),
            ],
            chunks: Vec::new(),
            sinks: Destinations::new(),
            beginning: None,
        };
        let sampled = sample(manifest);
        let subtasks = |operator: usize| &sampled.operators[operator].subtasks;
        assert_eq!(subtasks(0)[1].parts, [small[0].clone(), small[2].clone()]);
        assert!(subtasks(0)[0].parts.is_empty() && subtasks(1)[0].parts.is_empty());
        assert!(subtasks(0).iter().all(|subtask| subtask.value == "kept"), "what is no file stays");
    }
}
