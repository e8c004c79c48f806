//! Finding where the sources begin that no checkpoint knows.
//!
//! The coordinator asks, once, and tells the workers: what each of them found for itself would be another "latest record", or
//! another list of files, in each process and after each restart.

use futures::future::try_join_all;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use crate::{
    checkpoint::{
        manifest::{Manifest, StateKind},
        starts::{Beginner, Starts, StartsError},
        store::Store,
    },
    failure::Reason,
    graph::{NodeKind, StreamGraph},
    ids::OperatorId,
    job::JobPlan,
    source::SourceError,
    worker::{adopt::adopt, restore::RestoreError},
};

#[derive(Debug, Error)]
pub enum FindError {
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Starts(#[from] StartsError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Reason for FindError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Restore(error) => error.reason(),
            Self::Starts(error) => error.reason(),
            Self::Source(error) => error.reason(),
        }
    }
}

/// Where those sources begin that the checkpoint does not have; all of them, without one.
pub async fn find(
    plan: &JobPlan,
    store: &dyn Store,
    inherited: Option<&Manifest>,
    beginner: &Beginner,
) -> Result<Starts, FindError> {
    let find = async |(id, name): (&OperatorId, &str)| {
        let Some(source) = plan.source(name).map(|table| &table.source) else { return Ok((id.clone(), Vec::new())) };
        let Some(begins_by) = source.begins_by() else { return Ok((id.clone(), source.find_splits(None).await?)) };
        let known = beginner.read(store, id, &begins_by).await?;
        let found = source.find_splits(known.as_deref()).await?;
        let kept = match known {
            Some(known) if known == found => known,
            known => beginner.keep(store, id, &begins_by, found, known.is_some()).await?,
        };
        Ok::<_, FindError>((id.clone(), kept))
    };
    let found = try_join_all(unknown(&plan.graph, inherited)?.into_iter().map(find)).await?;
    Ok(found.into_iter().collect())
}

/// The sources that the checkpoint does not have, each with its name in the document.
fn unknown<'a>(
    graph: &'a StreamGraph,
    inherited: Option<&Manifest>,
) -> Result<Vec<(&'a OperatorId, &'a str)>, RestoreError> {
    let adopted = inherited.map(|manifest| adopt(manifest, graph)).transpose()?;
    let is_known = |id: &OperatorId| {
        let state = adopted.as_ref().and_then(|manifest| manifest.operator(id));
        state.is_some_and(|state| state.kind == StateKind::Source)
    };
    let sources = graph.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source { source, .. } => Some((&node.id, source.as_str())),
        _ => None,
    });
    Ok(sources.filter(|(id, _)| !is_known(id)).collect())
}
