//! What the coordinator holds for the attempt that runs: acknowledgements, manifests, what waits to be published.

use std::collections::{BTreeMap, BTreeSet};

use tokio::runtime::Handle;

use super::publish::{Lanes, PendingChunk, Target};
use crate::{
    checkpoint::{
        CommitPermit,
        collect::Kept,
        manifest::{ChunkRef, Manifest, OperatorState, SubtaskState},
        record::{CheckpointRef, Trigger},
        store::ObjectPath,
    },
    env,
    ids::{Attempt, Epoch, OperatorId, Revision, SubtaskIndex},
    job::JobPlan,
    worker::{
        deploy::Running,
        report::{Ack, AckedChunk},
        restore::Restored,
    },
};

pub struct Current {
    pub attempt: Attempt,
    pub lineage: String,
    pub restored: Restored,
    pub running: Option<Running>,
    pub lanes: Lanes,
    kept: Kept,
    checkpoints: BTreeMap<Epoch, Checkpoint>,
    /// Chunks of epochs that are owned and not known to be published.
    pending: BTreeMap<Epoch, Vec<ChunkRef>>,
}

/// A checkpoint on its way to be owned.
struct Checkpoint {
    trigger: Trigger,
    acks: Vec<Ack>,
    manifest: Option<Manifest>,
    reference: Option<CheckpointRef>,
    permit: Option<CommitPermit>,
}

/// What a completed checkpoint came to.
pub struct Completed {
    pub manifest: ObjectPath,
    pub bytes: u64,
    /// Rows that wait to be published for it.
    pub rows: u64,
    pub garbage: BTreeSet<ObjectPath>,
}

impl Current {
    pub fn new(
        attempt: Attempt,
        lineage: String,
        restored: Restored,
        kept: Kept,
        targets: Vec<Target>,
        io: &Handle,
    ) -> Self {
        Self {
            attempt,
            lineage,
            restored,
            running: None,
            lanes: Lanes::start(targets, io),
            kept,
            checkpoints: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    pub fn triggered(&mut self, epoch: Epoch, trigger: Trigger) {
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
        let mut chunks: Vec<ChunkRef> = self.pending.values().flatten().cloned().collect();
        for ack in checkpoint.iter().flat_map(|checkpoint| &checkpoint.acks) {
            for (operator, state) in &ack.operators {
                operators.entry(operator.clone()).or_default().insert(ack.task.subtask, state.clone());
            }
            chunks.extend(ack.chunks.iter().map(|chunk| chunk.reference.clone()));
        }
        chunks.sort_by(|a, b| (a.id.epoch, &a.id).cmp(&(b.id.epoch, &b.id)));
        let operators = operators
            .into_iter()
            .map(|(id, subtasks)| OperatorState { id, subtasks: subtasks.into_values().collect() })
            .collect();
        let manifest = Manifest {
            format: Manifest::FORMAT,
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

    pub fn reference(&mut self, epoch: Epoch) -> Option<CheckpointRef> {
        self.checkpoints.get(&epoch).and_then(|checkpoint| checkpoint.reference.clone())
    }

    pub fn owned(&mut self, permit: CommitPermit) {
        if let Some(checkpoint) = self.checkpoints.get_mut(&permit.epoch()) {
            checkpoint.permit = Some(permit);
        }
    }

    /// The epoch is owned: tells the parts of state where they are, hands the chunks to the sinks, finds the garbage.
    pub fn completed(&mut self, epoch: Epoch) -> Option<Completed> {
        let Checkpoint { acks, manifest, permit, .. } = self.checkpoints.remove(&epoch)?;
        let (manifest, permit) = (manifest?, permit?);
        let bytes = acks.iter().map(|ack| ack.bytes).sum();
        let mut chunks = Vec::new();
        for ack in acks {
            for (part, reference) in ack.parts {
                part.is_at(reference);
            }
            chunks.extend(ack.chunks);
        }
        let rows = chunks.iter().map(|chunk| chunk.reference.rows).sum();
        self.pending.insert(epoch, chunks.iter().map(|chunk| chunk.reference.clone()).collect());
        let pending = |AckedChunk { reference, chunk, rows }| {
            rows.completed();
            PendingChunk { reference, rows: chunk }
        };
        self.lanes.publish(&permit, chunks.into_iter().map(pending).collect());
        let garbage = self.kept.completed(&manifest);
        Some(Completed { manifest: manifest.path(), bytes, rows, garbage })
    }

    pub fn discard(&mut self, epoch: Epoch) {
        self.checkpoints.remove(&epoch);
    }

    /// Everything up to `epoch` is published.
    pub fn published(&mut self, epoch: Epoch) {
        self.pending = self.pending.split_off(&epoch.next());
    }
}
