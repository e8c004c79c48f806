//! Finding where the sources begin that no checkpoint knows.
//!
//! The coordinator asks, once, and tells the workers: what each of them found for itself would be another "latest record", or
//! another list of files, in each process and after each restart.

use futures::future::try_join_all;

use super::recover::RecoverError;
use crate::{
    checkpoint::{
        manifest::{Manifest, StateKind},
        starts::{Beginner, Starts},
        store::Store,
    },
    graph::{NodeKind, StreamGraph},
    ids::OperatorId,
    job::JobPlan,
    worker::{adopt::adopt, restore::RestoreError},
};

/// Where sources begin that no checkpoint has; each with its name in the document.
pub async fn find(
    plan: &JobPlan,
    store: &dyn Store,
    unknown: Vec<(OperatorId, String)>,
    beginner: &Beginner,
) -> Result<Starts, RecoverError> {
    let find = async |(id, name): (OperatorId, String)| {
        let Some(source) = plan.source(&name).map(|table| &table.source) else { return Ok((id, Vec::new())) };
        let Some(begins_by) = source.begins_by() else { return Ok((id, source.find_splits(None).await?)) };
        let known = beginner.read(store, &id, &begins_by).await?;
        let found = source.find_splits(known.as_deref()).await?;
        let kept = match known {
            Some(known) if known == found => known,
            known => beginner.keep(store, &id, &begins_by, found, known.is_some()).await?,
        };
        Ok::<_, RecoverError>((id, kept))
    };
    Ok(try_join_all(unknown.into_iter().map(find)).await?.into_iter().collect())
}

/// The sources that the checkpoint does not have; all of them, without one.
pub fn unknown(graph: &StreamGraph, inherited: Option<&Manifest>) -> Result<Vec<(OperatorId, String)>, RestoreError> {
    let adopted = inherited.map(|manifest| adopt(manifest, graph)).transpose()?;
    let is_known = |id: &OperatorId| {
        let state = adopted.as_ref().and_then(|manifest| manifest.operator(id));
        state.is_some_and(|state| state.kind == StateKind::Source)
    };
    let sources = graph.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source { source, .. } => Some((node.id.clone(), source.clone())),
        _ => None,
    });
    Ok(sources.filter(|(id, _)| !is_known(id)).collect())
}
