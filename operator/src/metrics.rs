//! What the operator measures of itself.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tidegate_crds::{JobPhase, StreamJobResource};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: String,
}

/// All metrics; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconcile_seconds: Histogram,
    errors: Family<ReasonLabel, Counter>,
    jobs: Family<PhaseLabel, Gauge>,
    leader: Gauge,
}

const PHASES: [JobPhase; 10] = [
    JobPhase::Pending,
    JobPhase::Starting,
    JobPhase::Running,
    JobPhase::Upgrading,
    JobPhase::UpgradeBlocked,
    JobPhase::Suspending,
    JobPhase::Suspended,
    JobPhase::Finished,
    JobPhase::Failed,
    JobPhase::Terminating,
];

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tidegate_operator");
        let reconcile_seconds = Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]);
        let (errors, jobs, leader) = (Family::default(), Family::default(), Gauge::default());
        registry.register(
            "reconcile_seconds",
            "Time of one reconcile, its waiting for pods included",
            reconcile_seconds.clone(),
        );
        registry.register("reconcile_errors", "Reconciles that failed, by reason", Family::clone(&errors));
        registry.register("jobs", "StreamJobs by phase", Family::clone(&jobs));
        registry.register("leader", "1 while this process holds the lease", Gauge::clone(&leader));
        Self { registry: Arc::new(registry), reconcile_seconds, errors, jobs, leader }
    }

    pub fn reconciled(&self, elapsed: Duration) {
        self.reconcile_seconds.observe(elapsed.as_secs_f64());
    }

    pub fn failed(&self, reason: &'static str) {
        self.errors.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub fn leads(&self) {
        self.leader.set(1);
    }

    /// All metrics in the OpenMetrics text format. `jobs` are counted as they are now.
    pub fn encode<'a>(&self, jobs: impl Iterator<Item = &'a StreamJobResource>) -> String {
        for phase in PHASES {
            self.jobs.get_or_create(&PhaseLabel { phase: format!("{phase:?}") }).set(0);
        }
        for job in jobs {
            let phase = job.status.as_ref().and_then(|status| status.phase).unwrap_or(JobPhase::Pending);
            self.jobs.get_or_create(&PhaseLabel { phase: format!("{phase:?}") }).inc();
        }
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing into a string does not fail.
            Err(std::fmt::Error) => String::new(),
        }
    }
}
