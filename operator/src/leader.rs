//! Leader election: of several operators one works.
//!
//! The lease only keeps two from doing the same work. What keeps an operator that has lost it from doing harm is that each
//! of its writes carries the version of the object that it was decided from.

use kube::Client;
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use thiserror::Error;
use tokio::sync::watch;

use crate::arguments::Arguments;

/// Seconds after which a lease that is not renewed is free.
const DURATION: u64 = 15;
/// Seconds before that in which it is renewed.
const GRACE: u64 = 10;

#[derive(Debug, Error)]
pub enum LeaderError {
    #[error("failed to take part in the election of a leader, by the lease `{lease}`")]
    Lease {
        lease: String,
        #[source]
        source: Box<LeaseManagerError>,
    },
    #[error("the lease `{lease}` is no longer watched")]
    Gone { lease: String },
}

/// The lease, while this process has it.
#[derive(Debug)]
pub struct Leadership {
    lease: String,
    holds: watch::Receiver<bool>,
}

/// Waits for the lease.
pub async fn elect(client: Client, arguments: &Arguments) -> Result<Leadership, LeaderError> {
    let lease = arguments.lease_name.clone();
    let failed = |source| LeaderError::Lease { lease: lease.clone(), source: Box::new(source) };
    let manager = LeaseManagerBuilder::new(client, &lease)
        .with_namespace(&arguments.namespace)
        .with_identity(&arguments.pod_name)
        .with_duration(DURATION)
        .with_grace(GRACE)
        .build()
        .await
        .map_err(failed)?;
    let (mut holds, _task) = manager.watch().await;
    tracing::info!(lease, namespace = arguments.namespace, "waiting for the lease");
    let gone = holds.wait_for(|holds| *holds).await.is_err();
    if gone {
        return Err(LeaderError::Gone { lease });
    }
    tracing::info!(lease, "this operator leads");
    Ok(Leadership { lease, holds })
}

impl Leadership {
    /// Comes back when the lease is lost: then this process must end.
    pub async fn lost(mut self) -> String {
        // A watch that ends is as bad as a lease that is lost.
        let _ended = self.holds.wait_for(|holds| !*holds).await;
        self.lease
    }
}
