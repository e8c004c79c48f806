//! Stages and outputs to the nodes of a graph.
//!
//! First from the sinks back: each segment is optimised, and each stage learns which of its columns some reader needs
//! ([`needs`]). Then from the sources on: stages that are read become nodes, with maps for the segments between them,
//! equal segments one map ([`place`]). Last, every node gets its id.

mod input;
mod needs;
mod place;

use datafusion_common::DataFusionError;

use super::{
    error::SqlError,
    insert::Output,
    segment,
    stage::{Stage, Work},
};
use crate::graph::StreamGraph;

/// The graph of all outputs; stages that no output needs are left out.
pub(super) fn graph(stages: &[Stage], outputs: &[Output]) -> Result<StreamGraph, SqlError> {
    let mut needs = needs::Needs::new(stages);
    let mut sinks = Vec::new();
    for output in outputs {
        let failed = |error: DataFusionError| SqlError::planning(&error, output.at);
        let plan = segment::optimise(output.plan.clone()).map_err(failed)?;
        needs.read(&plan).map_err(failed)?;
        sinks.push((output, plan));
    }
    let failed = |error: DataFusionError| SqlError::planning(&error, None);
    let inputs = needs.inputs(stages)?;
    let mut graph = place::Graph::default();
    for ((stage, input), columns) in stages.iter().zip(inputs).zip(needs.columns) {
        match (columns, input) {
            (Some(columns), None) => graph.source(stage, columns),
            (Some(columns), Some(input)) => graph.stage(stage, columns, input).map_err(failed)?,
            (None, _) => graph.skip(),
        }
    }
    for (output, plan) in sinks {
        graph.sink(&output.sink, &plan).map_err(|error| SqlError::planning(&error, output.at))?;
    }
    Ok(graph.finish())
}

/// Whether the stage reads another.
fn reads(stage: &Stage) -> bool {
    !matches!(stage.work, Work::Source)
}
