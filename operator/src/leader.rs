//! Leader election: of several operators one works.
//!
//! The lease only keeps two from doing the same work. What keeps an operator that has lost it from doing harm is that each
//! of its writes carries the version of the object that it was decided from.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::{sync::watch, task::JoinHandle};

use crate::{arguments::Arguments, clock, controller::chain};

/// Seconds after which a lease that is not renewed is free.
const DURATION: u64 = 15;
/// Seconds before that in which it is renewed.
const GRACE: u64 = 10;

/// Between two tries to reach the API server at the start.
const PAUSE: Duration = Duration::from_secs(2);

/// The lease, while this process has it.
#[derive(Debug)]
pub struct Leadership {
    lease: String,
    holds: watch::Receiver<bool>,
    renewal: JoinHandle<kube_lease_manager::Result<LeaseManager>>,
}

/// Waits for the lease, however long the API server is away.
pub async fn elect(client: Client, arguments: &Arguments) -> Leadership {
    let lease = arguments.lease_name.clone();
    tracing::info!(lease, namespace = arguments.namespace, "waiting for the lease");
    loop {
        let manager = LeaseManagerBuilder::new(client.clone(), &lease)
            .with_namespace(&arguments.namespace)
            .with_identity(&arguments.pod_name)
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await;
        match manager {
            Ok(manager) => {
                let (mut holds, renewal) = manager.watch().await;
                if holds.wait_for(|holds| *holds).await.is_ok() {
                    tracing::info!(lease, "this operator leads");
                    return Leadership { lease, holds, renewal };
                }
                tracing::warn!(lease, "the lease is no longer watched; trying again");
            }
            Err(error) => tracing::warn!(lease, error = chain(&error), "failed to read the lease; trying again"),
        }
        clock::sleep(PAUSE).await;
    }
}

impl Leadership {
    /// Comes back when the lease is lost: then this process must end.
    pub async fn lost(&mut self) -> String {
        // A watch that ends is as bad as a lease that is lost.
        let _ended = self.holds.wait_for(|holds| !*holds).await;
        self.lease.clone()
    }

    /// Gives the lease back, so that the next operator need not wait for its end.
    pub async fn release(self) {
        drop(self.holds);
        match self.renewal.await {
            Ok(Ok(_)) => tracing::info!(lease = self.lease, "the lease is given back"),
            Ok(Err(error)) => tracing::warn!(lease = self.lease, error = chain(&error), "failed to give the lease back"),
            Err(error) => tracing::warn!(lease = self.lease, %error, "failed to give the lease back"),
        }
    }
}
