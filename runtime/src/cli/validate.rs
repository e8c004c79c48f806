//! `tidegate validate`: everything that can be wrong is found before the job runs.

use std::sync::Arc;

use super::{arguments::JobArguments, prefixed, read};
use crate::{
    error_chain,
    job::JobPlan,
    metrics::Metrics,
    worker::rehearse::{Outlook, outlook},
};

pub(super) async fn validate(arguments: &JobArguments) -> Result<(), String> {
    let job = read(arguments)?;
    let refuse = |message: String| prefixed(&arguments.job, &message);
    let plan = JobPlan::new(&job, Arc::new(Metrics::new())).map_err(|error| refuse(error_chain(&error)))?;
    plan.preflight(plan.spec.parallelism).await.map_err(|error| refuse(error_chain(&error)))?;
    let outlook = outlook(&plan).await.map_err(|failure| refuse(failure.message))?;
    println!("{}: {} operators, parallelism {}\n", plan.name, plan.graph.nodes.len(), plan.spec.parallelism);
    print!("{}", plan.graph);
    match outlook {
        Outlook::Nothing => println!("\nIt begins without state."),
        Outlook::Own(epoch) => println!("\nIt goes on from its checkpoint of epoch {epoch}."),
        Outlook::Copy { of, epoch } => println!("\nIt begins with a copy of epoch {epoch} of {of}."),
    }
    Ok(())
}
