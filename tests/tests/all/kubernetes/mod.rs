//! The store-sales job in a cluster: applied by `kubectl`, run by the operator that the chart installed, and broken in
//! every way in which a cluster breaks. What comes out is compared with the reference, row by row, in both sinks.
//!
//! One cluster serves all tests, one after another: a node that is cut off is everybody's.

mod changes;
mod faults;
mod refusals;

use std::sync::OnceLock;

use tidegate_crds::JobPhase;
use tidegate_tests::{
    counterparts::Cluster,
    oracle::Workload,
    platform::{JobName, Platform},
    world::Run,
};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The cluster, for as long as a test needs it alone; none where this machine can't run one.
async fn platform() -> Option<MutexGuard<'static, Platform>> {
    static PLATFORM: OnceLock<OnceCell<Mutex<Platform>>> = OnceLock::new();
    if let Err(reason) = Cluster::available() {
        println!("not tried, since this machine can't run a cluster: {reason}");
        return None;
    }
    let platform = PLATFORM.get_or_init(OnceCell::new);
    Some(platform.get_or_init(async || Mutex::new(Platform::start().await)).await.lock().await)
}

/// A job that works for a while: a processor's part, so that there is time to break something.
const SLOW: [(&str, &str); 2] = [
    ("spec.template.resources", "{ requests: { cpu: 100m, memory: 128Mi }, limits: { cpu: 400m, memory: 1Gi } }"),
    ("spec.stateTtl", "1h"),
];

/// A job over orders of its own, in a namespace of its own.
struct Case {
    job: JobName,
    run: Run,
    workload: Workload,
}

impl Case {
    /// Makes the orders and applies the job.
    async fn start(platform: &Platform, name: &'static str, orders: u64, set: &[(&str, &str)]) -> Self {
        let job = JobName { namespace: name, name: "store-sales" };
        platform.namespace(name).await;
        let workload = Workload::new(23, orders);
        let run = platform.world.store_sales(name, &workload).await;
        let case = Self { job, run, workload };
        case.apply(platform, set).await;
        case
    }

    /// Applies the job with fields set over those of the example.
    async fn apply(&self, platform: &Platform, set: &[(&str, &str)]) {
        platform.cluster.apply(&platform.manifest(&self.run, &self.job, set)).await.unwrap();
    }

    /// Waits until everything is read and published, and compares it with the reference.
    async fn finish_exact(self, platform: &Platform) {
        platform.wait(&self.job, "the job finishes", |status| status.phase == Some(JobPhase::Finished)).await;
        platform.world.assert_exact(&self.run, &self.workload).await;
        platform.kubectl(&["delete", "namespace", self.job.namespace, "--timeout=120s"]).await;
    }
}
