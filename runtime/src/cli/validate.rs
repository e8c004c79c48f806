//! `tidegate validate`: everything that can be wrong is found before the job runs.

use std::sync::Arc;

use super::{arguments::JobArguments, prefixed, read};
use crate::{error_chain, job::JobPlan, metrics::Metrics};

pub(super) async fn validate(arguments: &JobArguments) -> Result<(), String> {
    let job = read(arguments)?;
    let refuse = |message: String| prefixed(&arguments.job, &message);
    let plan = JobPlan::new(&job, Arc::new(Metrics::new())).map_err(|error| refuse(error_chain(&error)))?;
    plan.preflight(plan.spec.parallelism).await.map_err(|error| refuse(error_chain(&error)))?;
    println!("{}: {} operators, parallelism {}\n", plan.name, plan.graph.nodes.len(), plan.spec.parallelism);
    print!("{}", plan.graph);
    Ok(())
}
