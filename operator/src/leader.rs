//! Leader election: of several operators one works.
//!
//! An operator that can't make sure that it still has the lease ends before another may take it, by its own clock: it is
//! not enough that nobody has told it. Beyond that, each write carries the version of the object that it was decided
//! from, so that one which is late all the same is refused.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::{sync::watch, task::JoinHandle};

use crate::{arguments::Arguments, clock, controller::chain};

/// Seconds after which a lease that is not renewed is free.
const DURATION: u64 = 15;
/// Seconds before that in which it is renewed.
const GRACE: u64 = 10;

/// A lease that could not be made sure of for so long is taken for lost: shorter than what is left of it when it was seen
/// last, which is at least `GRACE` seconds.
const UNSURE: Duration = Duration::from_secs(8);
/// Between two looks at the lease.
const PAUSE: Duration = Duration::from_secs(2);

/// The lease, while this process has it.
#[derive(Debug)]
pub struct Leadership {
    lease: String,
    identity: String,
    leases: Api<Lease>,
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
                    let leases = Api::namespaced(client, &arguments.namespace);
                    return Leadership { lease, identity: arguments.pod_name.clone(), leases, holds, renewal };
                }
                tracing::warn!(lease, "the lease is no longer watched; trying again");
            }
            Err(error) => tracing::warn!(lease, error = chain(&error), "failed to read the lease; trying again"),
        }
        clock::sleep(PAUSE).await;
    }
}

impl Leadership {
    /// Comes back when the lease is lost, or may be: then this process must end.
    pub async fn lost(&mut self) -> String {
        let unsure = Self::unsure(&self.leases, &self.lease, &self.identity);
        tokio::select! {
            // A watch that ends is as bad as a lease that is lost.
            _lost = self.holds.wait_for(|holds| !*holds) => {}
            () = unsure => {}
        }
        self.lease.clone()
    }

    /// Looks at the lease again and again, until it is another's or has not been seen for too long.
    async fn unsure(leases: &Api<Lease>, lease: &str, identity: &str) {
        let mut sure = clock::monotonic();
        while clock::monotonic().saturating_sub(sure) < UNSURE {
            clock::sleep(PAUSE).await;
            let asked = clock::monotonic();
            let found = clock::within(PAUSE, leases.get(lease)).await;
            let holder = found.map(|found| found.map(|lease| lease.spec.and_then(|spec| spec.holder_identity)));
            match holder {
                Some(Ok(Some(holder))) if holder == identity => sure = asked,
                Some(Ok(_)) => return,
                Some(Err(error)) => tracing::warn!(lease, error = chain(&error), "failed to look at the lease"),
                None => tracing::warn!(lease, "the API server does not answer"),
            }
        }
    }

    /// Gives the lease back, so that the next operator need not wait for its end.
    pub async fn release(self) {
        drop(self.holds);
        match self.renewal.await {
            Ok(Ok(_)) => tracing::info!(lease = self.lease, "the lease is given back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.lease, error = chain(&error), "failed to give the lease back");
            }
            Err(error) => tracing::warn!(lease = self.lease, %error, "failed to give the lease back"),
        }
    }
}
