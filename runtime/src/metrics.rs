//! What the job counts, in Prometheus' words.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tidegate_crds::api::RestoredBytes;

/// Limits of the classes of times.
const SECONDS: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// Label of a source, an operator or a sink, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Named {
    pub name: String,
}

/// Label of a place that state is read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Located {
    pub location: &'static str,
}

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub source_records: Family<Named, Counter>,
    pub source_bad_records: Family<Named, Counter>,
    pub source_lag_records: Family<Named, Gauge>,
    pub late_records: Family<Named, Counter>,
    pub duplicates: Family<Named, Counter>,
    pub sink_rows: Family<Named, Counter>,
    pub publish_failures: Family<Named, Counter>,
    pub checkpoints_completed: Counter,
    pub checkpoints_failed: Counter,
    pub checkpoints_under_way: Gauge,
    pub checkpoint_seconds: Histogram,
    pub checkpoint_alignment_seconds: Histogram,
    pub checkpoint_sync_seconds: Histogram,
    pub checkpoint_async_seconds: Histogram,
    pub checkpoints_unaligned: Counter,
    pub checkpoint_in_flight_rows: Gauge,
    pub checkpoint_in_flight_bytes: Gauge,
    pub checkpoint_bytes: Gauge,
    pub checkpoint_epoch: Gauge,
    pub committed_epoch: Gauge,
    pub pending_epochs: Gauge,
    pub restarts: Counter,
    pub region_restarts: Counter,
    pub restored_bytes: Family<Located, Gauge>,
}

impl Metrics {
    /// Of what [`Metrics::encode`] gives.
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tidegate"),
            source_records: Family::default(),
            source_bad_records: Family::default(),
            source_lag_records: Family::default(),
            late_records: Family::default(),
            duplicates: Family::default(),
            sink_rows: Family::default(),
            publish_failures: Family::default(),
            checkpoints_completed: Counter::default(),
            checkpoints_failed: Counter::default(),
            checkpoints_under_way: Gauge::default(),
            checkpoint_seconds: Histogram::new(SECONDS),
            checkpoint_alignment_seconds: Histogram::new(SECONDS),
            checkpoint_sync_seconds: Histogram::new(SECONDS),
            checkpoint_async_seconds: Histogram::new(SECONDS),
            checkpoints_unaligned: Counter::default(),
            checkpoint_in_flight_rows: Gauge::default(),
            checkpoint_in_flight_bytes: Gauge::default(),
            checkpoint_bytes: Gauge::default(),
            checkpoint_epoch: Gauge::default(),
            committed_epoch: Gauge::default(),
            pending_epochs: Gauge::default(),
            restarts: Counter::default(),
            region_restarts: Counter::default(),
            restored_bytes: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("source_records", "Records read, by source", self.source_records.clone());
        registry.register(
            "source_bad_records",
            "Records that are not of the source's format, by source",
            self.source_bad_records.clone(),
        );
        registry.register(
            "source_lag_records",
            "Records that are there and not read yet, by source",
            self.source_lag_records.clone(),
        );
        registry.register("late_records", "Records that came after their window had closed", self.late_records.clone());
        registry.register("duplicates", "Records dropped by deduplication", self.duplicates.clone());
        registry.register("sink_rows", "Rows published, by sink", self.sink_rows.clone());
        registry.register("publish_failures", "Tries to publish that failed, by sink", self.publish_failures.clone());
        registry.register("checkpoints_completed", "Checkpoints owned", self.checkpoints_completed.clone());
        registry.register("checkpoints_failed", "Checkpoints given up", self.checkpoints_failed.clone());
        registry.register(
            "checkpoint_seconds",
            "Time from the start of a checkpoint until it was owned",
            self.checkpoint_seconds.clone(),
        );
        registry.register(
            "checkpoint_alignment_seconds",
            "Time from the first barrier that reached a subtask until the last",
            self.checkpoint_alignment_seconds.clone(),
        );
        registry.register(
            "checkpoint_sync_seconds",
            "Time in which a subtask stood still for a checkpoint",
            self.checkpoint_sync_seconds.clone(),
        );
        registry.register(
            "checkpoint_async_seconds",
            "Time of a subtask's upload, while it went on",
            self.checkpoint_async_seconds.clone(),
        );
        registry.register(
            "checkpoints_under_way",
            "Checkpoints that have begun, and are neither complete nor given up",
            self.checkpoints_under_way.clone(),
        );
        registry.register(
            "checkpoints_unaligned",
            "Checkpoints owned whose barriers have overtaken records",
            self.checkpoints_unaligned.clone(),
        );
        registry.register(
            "checkpoint_in_flight_rows",
            "Records in flight that the newest checkpoint has",
            self.checkpoint_in_flight_rows.clone(),
        );
        registry.register(
            "checkpoint_in_flight_bytes",
            "Bytes of the records in flight that the newest checkpoint has",
            self.checkpoint_in_flight_bytes.clone(),
        );
        registry.register("checkpoint_bytes", "Bytes uploaded by the newest checkpoint", self.checkpoint_bytes.clone());
        registry.register("checkpoint_epoch", "Newest epoch owned", self.checkpoint_epoch.clone());
        registry.register("committed_epoch", "Newest epoch published by all sinks", self.committed_epoch.clone());
        registry.register("pending_epochs", "Epochs owned and not yet published", self.pending_epochs.clone());
        registry.register("restarts", "Restarts after a failure", self.restarts.clone());
        registry.register(
            "region_restarts",
            "Restarts after a failure of some tasks alone, while the others went on",
            self.region_restarts.clone(),
        );
        registry.register(
            "restored_bytes",
            "Bytes of state that the last start went on with, by where they were",
            self.restored_bytes.clone(),
        );
    }

    /// Where the state was that the job goes on with.
    pub fn restored(&self, bytes: RestoredBytes) {
        let RestoredBytes { local_memory_bytes, local_disk_bytes, remote_bytes } = bytes;
        let places = [("local_memory", local_memory_bytes), ("local_disk", local_disk_bytes), ("remote", remote_bytes)];
        for (location, bytes) in places {
            self.restored_bytes.get_or_create(&Located { location }).set(bytes as i64);
        }
    }

    /// The text of `/metrics`.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The label of `name`.
pub fn named(name: impl Into<String>) -> Named {
    Named { name: name.into() }
}
