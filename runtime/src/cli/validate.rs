//! `tidegate validate`: everything that can be wrong is found before the job runs.

use std::sync::Arc;

use super::{arguments::JobArguments, prefixed, read, stdout::print};
use crate::{
    error_chain,
    job::JobPlan,
    metrics::Metrics,
    worker::rehearse::{Outlook, awaited, outlook},
};

pub(super) async fn validate(arguments: &JobArguments) -> Result<(), String> {
    let job = read(arguments)?;
    let refuse = |message: String| prefixed(&arguments.job, &message);
    let plan = JobPlan::new(&job, Arc::new(Metrics::new())).map_err(|error| refuse(error_chain(&error)))?;
    let awaited = awaited(&plan).await.map_err(|failure| refuse(failure.message))?;
    plan.preflight(plan.spec.parallelism, &awaited, true).await.map_err(|error| refuse(error_chain(&error)))?;
    let outlook = outlook(&plan).await.map_err(|failure| refuse(failure.message))?;
    let begins = match outlook {
        Outlook::Nothing => "It begins without state.".to_owned(),
        Outlook::Own { at, epoch } => format!("It goes on from its checkpoint of epoch {epoch} in {at}."),
        Outlook::Copy { of, epoch } => format!("It begins with a copy of epoch {epoch} of {of}."),
    };
    let operators = plan.graph.nodes.len();
    let title = format!("{}: {operators} operators, parallelism {}\n", plan.name, plan.spec.parallelism);
    print(&[title, plan.graph.to_string(), begins])
}
