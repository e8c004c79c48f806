//! Whether a job can go on from a checkpoint of another version of it, found out before anything is taken or stopped.
//!
//! What the manifest tells is checked as a whole: key groups, operators, splits. What only the state itself tells, such
//! as how many columns a window's partial results have, is tried on a sample: of each kind of state of an operator its
//! smallest file is loaded, and the operator built with it.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use tidegate_crds::api::Failure;
use tokio::runtime::Handle;

use super::{
    deploy::DeployError,
    restore::{self, Restored},
};
use crate::{
    checkpoint::{
        claim::Heir,
        manifest::{FileRef, Manifest},
        store::Store,
    },
    failure::Reason,
    graph::NodeKind,
    ids::SubtaskIndex,
    job::JobPlan,
    operator::{
        KeyRange,
        build::{Context, build},
    },
    state::Spill,
};

/// Larger files are only looked at when the job is recovered.
const LARGEST_SAMPLE: u64 = 64 << 20;

#[async_trait]
impl Heir for JobPlan {
    async fn fits(&self, store: &Arc<dyn Store>, manifest: &Manifest) -> Result<(), Failure> {
        rehearse(self, store, manifest).await.map_err(|error| error.failure())
    }
}

async fn rehearse(plan: &JobPlan, store: &Arc<dyn Store>, manifest: &Manifest) -> Result<(), DeployError> {
    let (operators, max_parallelism) = (plan.operator_ids(), plan.spec.max_parallelism);
    restore::fits(manifest, &operators, max_parallelism)?;
    let sample = sample(manifest.clone());
    let restored = Restored::load(store, &sample, &operators, max_parallelism).await?;
    let range = KeyRange { subtask: SubtaskIndex(0), parallelism: 1, max_parallelism };
    let spill = |name: &str| Spill::new(store.clone(), Handle::current(), name.to_owned());
    let context = Context { plan, range, restored: &restored, spill: &spill };
    for node in &plan.graph.nodes {
        match &node.kind {
            NodeKind::Source { source, .. } => {
                if let (Some(table), Some(splits)) = (plan.source(source), restored.splits(&node.id)?) {
                    table.source.fits(&splits)?;
                }
            }
            NodeKind::Deduplicate { .. } | NodeKind::WindowAggregate(_) => {
                build(node, &context)?;
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
            subtask.parts.retain(|part| {
                let is_smallest = smallest.get(&part.kind).is_some_and(|file| file.path == part.file.path);
                // One is enough.
                is_smallest && smallest.remove(&part.kind).is_some()
            });
        }
    }
    manifest
}
