//! What the coordinator holds for the attempt that runs: acknowledgements, manifests, what waits to be published.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_crds::api::{CheckpointTimes, InFlightRecords, RestoreStatus};

use super::{regions::Restarting, staff::Staff, unexplained::Unexplained, workers::WorkerId};
use crate::{
    checkpoint::{
        CommitPermit, Grant,
        claim::Claimed,
        collect::Kept,
        committed::{Committed, STEP},
        manifest::{ChunkRef, Manifest, OperatorState, StateKind, SubtaskState},
        pending::Pending,
        record::{CheckpointRef, Trigger},
        starts::Starts,
        store::ObjectPath,
    },
    env,
    ids::{Attempt, Epoch, OperatorId, Revision, SubtaskIndex},
    job::JobPlan,
    worker::{
        protocol::{Ack, TaskId},
        regions::Regions,
        topology::Topology,
    },
};

pub struct Current {
    pub attempt: Attempt,
    pub lineage: String,
    /// How many subtasks each operator has.
    pub parallelism: u32,
    /// The newest checkpoint: the one that it goes on from, until it owns one.
    pub newest: Option<CheckpointRef>,
    /// Where the sources begin that the newest checkpoint does not have. Known once it is known what the attempt goes on
    /// from, and that that is not the end of the job: then its tasks may be built.
    pub starts: Option<Starts>,
    pub staff: Staff,
    pub unexplained: Unexplained,
    /// Regions that restart while the others go on.
    pub restarting: Option<Restarting>,
    kept: Kept,
    checkpoints: BTreeMap<Epoch, Checkpoint>,
    pending: Pending,
    /// What the log has, or is about to have.
    noted: Committed,
    saving: Option<Saving>,
    /// Nothing was done yet about the savepoint that the job began with.
    is_claim_open: bool,
}

/// The checkpoint that a savepoint is made of.
struct Saving {
    epoch: Epoch,
    /// Once it has completed.
    manifest: Option<Manifest>,
}

/// A checkpoint on its way to be owned.
struct Checkpoint {
    trigger: Trigger,
    acks: Vec<Ack>,
    manifest: Option<Manifest>,
    reference: Option<CheckpointRef>,
    permit: Option<CommitPermit>,
}

/// What a subtask did for a checkpoint.
pub struct Share {
    pub task: TaskId,
    pub times: CheckpointTimes,
    pub bytes: u64,
    pub unaligned: Option<InFlightRecords>,
}

/// What a completed checkpoint came to.
pub struct Completed {
    pub manifest: ObjectPath,
    /// Uploaded for it.
    pub bytes: u64,
    /// Of all files that it needs.
    pub full_bytes: u64,
    /// Rows that wait to be published for it.
    pub rows: u64,
    pub garbage: BTreeSet<ObjectPath>,
    pub shares: Vec<Share>,
    /// For those who publish.
    pub grant: Grant,
}

impl Current {
    pub fn new(claimed: &Claimed, kept: Kept, plan: &JobPlan) -> Self {
        Self {
            attempt: claimed.journal.attempt(),
            lineage: claimed.lineage.clone(),
            parallelism: claimed.parallelism,
            newest: claimed.restored_from.clone(),
            starts: None,
            staff: Staff::new(Regions::of(&Topology::of(&plan.graph), claimed.parallelism)),
            unexplained: Unexplained::default(),
            restarting: None,
            kept,
            checkpoints: BTreeMap::new(),
            pending: Pending::default(),
            noted: Committed::up_to(claimed.restored_from.as_ref().map(|checkpoint| checkpoint.epoch)),
            saving: None,
            is_claim_open: true,
        }
    }

    /// Whether a source begins where no checkpoint knows it.
    pub fn begins(&self) -> bool {
        self.starts.as_ref().is_some_and(|starts| !starts.is_empty())
    }

    /// Whether the savepoint that the job began with is to be looked after; told once.
    pub fn takes_claim(&mut self) -> bool {
        std::mem::take(&mut self.is_claim_open)
    }

    /// The checkpoint of this epoch becomes a savepoint: its files stay until [`Current::saved`].
    pub fn save(&mut self, epoch: Epoch) {
        self.saving = Some(Saving { epoch, manifest: None });
        self.kept.hold(epoch);
    }

    /// The checkpoint that the savepoint is made of.
    pub fn saving(&self) -> Option<Manifest> {
        self.saving.as_ref()?.manifest.clone()
    }

    /// The savepoint is there, or given up; gives the files that nothing names any more.
    pub fn saved(&mut self) -> BTreeSet<ObjectPath> {
        self.saving = None;
        self.kept.release()
    }

    /// What the sweep has left in the store.
    pub fn recovered(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// What the workers have restored to go on from the newest checkpoint; none without one.
    pub fn restored(&self) -> Option<RestoreStatus> {
        let epoch = self.newest.as_ref()?.epoch.0;
        Some(RestoreStatus { epoch, bytes: self.staff.restored() })
    }

    pub fn triggered(&mut self, epoch: Epoch, trigger: Trigger) {
        self.kept.began(epoch);
        let checkpoint = Checkpoint { trigger, acks: Vec::new(), manifest: None, reference: None, permit: None };
        self.checkpoints.insert(epoch, checkpoint);
    }

    pub fn acked(&mut self, ack: Ack) {
        // One that was given up is no longer here.
        if let Some(checkpoint) = self.checkpoints.get_mut(&ack.epoch) {
            checkpoint.acks.push(ack);
        }
    }

    /// The manifest of a checkpoint that every subtask has acknowledged.
    pub fn manifest(&mut self, epoch: Epoch, plan: &JobPlan, revision: Revision) -> Manifest {
        let checkpoint = self.checkpoints.get_mut(&epoch);
        let mut operators: BTreeMap<OperatorId, BTreeMap<SubtaskIndex, SubtaskState>> = BTreeMap::new();
        for ack in checkpoint.iter().flat_map(|checkpoint| &checkpoint.acks) {
            for (operator, state) in &ack.operators {
                operators.entry(operator.clone()).or_default().insert(ack.task.subtask, state.clone());
            }
        }
        let shares = checkpoint.iter().flat_map(|checkpoint| &checkpoint.acks);
        let chunks = self.pending.and(shares.flat_map(|ack| ack.chunks.iter().cloned()));
        let parallelism = self.parallelism;
        let operators: Vec<OperatorState> = operators
            .into_iter()
            .filter_map(|(id, subtasks)| {
                let kind = plan.graph.state_kind(&id)?;
                let written_as = plan.graph.written_as(&id);
                Some(OperatorState { id, kind, written_as, subtasks: all_subtasks(kind, subtasks, parallelism) })
            })
            .collect();
        let manifest = Manifest {
            format: Manifest::format_of(&operators, &chunks),
            job: plan.id.clone(),
            lineage: self.lineage.clone(),
            epoch,
            attempt: self.attempt,
            revision,
            trigger: checkpoint.as_ref().map_or(Trigger::Interval, |checkpoint| checkpoint.trigger),
            max_parallelism: plan.spec.max_parallelism,
            created_at_ms: env::wall_clock_ms(),
            operators,
            chunks,
            sinks: plan.destinations(),
            beginning: None,
        };
        if let Some(checkpoint) = checkpoint {
            checkpoint.manifest = Some(manifest.clone());
        }
        manifest
    }

    pub fn written(&mut self, epoch: Epoch, reference: CheckpointRef) {
        if let Some(checkpoint) = self.checkpoints.get_mut(&epoch) {
            checkpoint.reference = Some(reference);
        }
    }

    /// The checkpoint as the log will have it, which is about to be written.
    pub fn owning(&mut self, epoch: Epoch) -> Option<CheckpointRef> {
        let reference = self.checkpoints.get(&epoch).and_then(|checkpoint| checkpoint.reference.clone());
        if reference.is_some() {
            self.staff.may_be_owned(epoch);
        }
        reference
    }

    pub fn owned(&mut self, permit: CommitPermit) {
        if let Some(checkpoint) = self.checkpoints.get_mut(&permit.epoch()) {
            checkpoint.permit = Some(permit);
        }
    }

    /// The epoch is owned: its chunks wait to be published, and files that no checkpoint names any more are garbage.
    pub fn completed(&mut self, epoch: Epoch) -> Option<Completed> {
        let Checkpoint { acks, manifest, reference, permit, .. } = self.checkpoints.remove(&epoch)?;
        let (manifest, reference, permit) = (manifest?, reference?, permit?);
        self.newest = Some(reference);
        // It has all sources.
        self.starts = Some(Starts::new());
        let bytes = acks.iter().map(|ack| ack.bytes).sum();
        let shares = shares(&acks);
        let chunks: Vec<ChunkRef> = acks.into_iter().flat_map(|ack| ack.chunks).collect();
        let rows = self.pending.owned(epoch, chunks).iter().map(|chunk| chunk.rows).sum();
        let garbage = self.kept.completed(&manifest);
        let (path, full_bytes) = (manifest.path(), manifest.bytes());
        if let Some(saving) = self.saving.as_mut().filter(|saving| saving.epoch == epoch) {
            saving.manifest = Some(manifest);
        }
        Some(Completed { manifest: path, bytes, full_bytes, rows, garbage, shares, grant: permit.grant() })
    }

    /// The epoch is given up; gives what had been done for it, and the files that nothing names any more.
    pub fn discard(&mut self, epoch: Epoch) -> (Vec<Share>, BTreeSet<ObjectPath>) {
        let done = self.checkpoints.remove(&epoch).map(|checkpoint| shares(&checkpoint.acks)).unwrap_or_default();
        (done, self.kept.given_up(epoch))
    }

    /// A worker's share of everything up to `epoch` is published to a sink. Gives what all have, when that is to be noted.
    pub fn published_to(&mut self, worker: WorkerId, sink: &str, epoch: Epoch) -> Option<Epoch> {
        let all = self.staff.published_to(worker, sink, epoch)?;
        self.pending.published_to(sink, all);
        let noted = self.noted.of(sink).map_or(0, |epoch| epoch.0);
        if all.0 < noted + STEP {
            return None;
        }
        self.noted.publish_to(sink, all);
        Some(all)
    }

    /// Everything up to `epoch` is published.
    pub fn published(&mut self, epoch: Epoch) {
        self.noted.publish(epoch);
        self.pending.published(epoch);
    }
}

/// By subtask index. Only those that a barrier has overtaken rows of say so; the others have none.
fn all_subtasks(
    kind: StateKind,
    mut subtasks: BTreeMap<SubtaskIndex, SubtaskState>,
    parallelism: u32,
) -> Vec<SubtaskState> {
    if kind == StateKind::InFlight {
        (0..parallelism).for_each(|subtask| _ = subtasks.entry(SubtaskIndex(subtask)).or_default());
    }
    subtasks.into_values().collect()
}

/// In the order of tasks and subtasks.
fn shares(acks: &[Ack]) -> Vec<Share> {
    let share = |ack: &Ack| Share { task: ack.task, times: ack.times, bytes: ack.bytes, unaligned: ack.unaligned };
    let mut shares: Vec<Share> = acks.iter().map(share).collect();
    shares.sort_by_key(|share| share.task);
    shares
}
