//! The store-sales job in a cluster: applied by `kubectl`, run by the operator that the chart installed, and broken in
//! every way in which a cluster breaks. What comes out is compared with the reference, row by row, in both sinks.
//!
//! One cluster serves all tests of jobs, one after another: a node that is cut off is everybody's. They wait more than they
//! work, so they are a program of their own, which `make test` runs beside the others.

#![allow(clippy::disallowed_methods)] // real servers live in real time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod changes;
mod cluster;
mod faults;
mod refusals;

use std::sync::OnceLock;

use tidegate_tests::{
    counterparts::Cluster,
    oracle::{Workload, reference},
    platform::{JobName, Platform},
    skip::skip,
    world::{Flow, Run, until},
};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The cluster, for as long as a test needs it alone; none where this machine can't run one.
async fn platform() -> Option<MutexGuard<'static, Platform>> {
    static PLATFORM: OnceLock<OnceCell<Mutex<Platform>>> = OnceLock::new();
    if let Err(reason) = Cluster::available() {
        skip(reason);
        return None;
    }
    let platform = PLATFORM.get_or_init(OnceCell::new);
    Some(platform.get_or_init(async || Mutex::new(Platform::start().await)).await.lock().await)
}

/// Orders a second: little work, so that the job is there for as long as a test needs it.
const RATE: u64 = 10_000;

/// A job over orders that come as long as the test goes on, in a namespace of its own.
struct Case {
    job: JobName,
    run: Run,
    orders: Flow,
}

impl Case {
    /// Lets orders flow and applies the job.
    async fn start(platform: &Platform, name: &'static str, set: &[(&str, &str)]) -> Self {
        let job = JobName { namespace: name, name: "store-sales" };
        platform.namespace(name).await;
        let run = platform.world.empty_run(name).await;
        let orders = platform.world.flow(&run, Workload::new(23, 0), RATE);
        let case = Self { job, run, orders };
        case.apply(platform, set).await;
        case
    }

    /// Applies the job with fields set over those of the example.
    async fn apply(&self, platform: &Platform, set: &[(&str, &str)]) {
        platform.cluster.apply(&platform.manifest(&self.run, &self.job, set)).await.unwrap();
    }

    /// Ends the orders, waits until all of them are counted, and compares what came out with the reference.
    async fn finish_exact(self, platform: &Platform) {
        let workload = self.orders.end().await;
        let windows = reference(&workload).len();
        until("every window is in the table", async || platform.world.table_rows(&self.run).await.len() >= windows)
            .await;
        // With its last checkpoint the job publishes what the other sink may still wait for.
        let job = ["delete", "streamjob", self.job.name, "--namespace", self.job.namespace, "--timeout=150s"];
        platform.kubectl(&job).await;
        platform.world.assert_exact(&self.run, &workload).await;
        platform.kubectl(&["delete", "namespace", self.job.namespace, "--wait=false"]).await;
    }
}
