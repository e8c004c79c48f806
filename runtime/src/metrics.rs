//! What the job counts, in Prometheus' words.
//!
//! Each metric is one line of [`metrics!`]: its field, its registration and the reference are made of it.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tidegate_crds::api::RestoredBytes;

/// Limits of the classes of times.
const SECONDS: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];
const PREFIX: &str = "tidegate";

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

/// A metric, for the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// As a query names it; of a histogram, without `_bucket`, `_sum` and `_count`.
    pub name: String,
    pub kind: &'static str,
    pub label: Option<&'static str>,
    pub meaning: &'static str,
}

/// A kind of metric.
trait Measure {
    const KIND: &str;
    /// What is put behind the name where its value is.
    const SUFFIX: &str = "";
    const LABEL: Option<&str> = None;

    fn begin() -> Self;
}

impl Measure for Counter {
    const KIND: &str = "counter";
    const SUFFIX: &str = "_total";

    fn begin() -> Self {
        Self::default()
    }
}

impl Measure for Gauge {
    const KIND: &str = "gauge";

    fn begin() -> Self {
        Self::default()
    }
}

impl Measure for Histogram {
    const KIND: &str = "histogram";

    fn begin() -> Self {
        Self::new(SECONDS)
    }
}

impl<M: Measure + Default> Measure for Family<Named, M> {
    const KIND: &str = M::KIND;
    const SUFFIX: &str = M::SUFFIX;
    const LABEL: Option<&str> = Some("name");

    fn begin() -> Self {
        Self::default()
    }
}

impl<M: Measure + Default> Measure for Family<Located, M> {
    const KIND: &str = M::KIND;
    const SUFFIX: &str = M::SUFFIX;
    const LABEL: Option<&str> = Some("location");

    fn begin() -> Self {
        Self::default()
    }
}

macro_rules! metrics {
    ($($name:ident: $kind:ty = $meaning:literal;)*) => {
        /// All metrics of a process.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $(pub $name: $kind,)*
        }

        impl Metrics {
            pub fn new() -> Self {
                let mut registry = Registry::with_prefix(PREFIX);
                $(
                    let $name = <$kind>::begin();
                    registry.register(stringify!($name), $meaning, $name.clone());
                )*
                Self { registry, $($name,)* }
            }

            /// What there is, in the order of `/metrics`.
            pub fn described() -> Vec<Described> {
                vec![$(Described {
                    name: format!("{PREFIX}_{}{}", stringify!($name), <$kind>::SUFFIX),
                    kind: <$kind>::KIND,
                    label: <$kind>::LABEL,
                    meaning: $meaning,
                }),*]
            }
        }
    };
}

metrics! {
    source_records: Family<Named, Counter> = "Records read, by source";
    source_bad_records: Family<Named, Counter> = "Records that are not of the source's format, by source";
    source_lag_records: Family<Named, Gauge> = "Records that are there and not read yet, by source";
    late_records: Family<Named, Counter> = "Records that came after their window had closed or, for a deduplication, after the watermark had passed them";
    duplicates: Family<Named, Counter> = "Records dropped by deduplication";
    sink_rows: Family<Named, Counter> = "Rows published, by sink";
    publish_failures: Family<Named, Counter> = "Tries to publish that failed, by sink";
    checkpoints_completed: Counter = "Checkpoints owned";
    checkpoints_failed: Counter = "Checkpoints given up";
    checkpoint_seconds: Histogram = "Time from the start of a checkpoint until it was owned";
    checkpoint_alignment_seconds: Histogram = "Time from the first barrier that reached a subtask until the last";
    checkpoint_sync_seconds: Histogram = "Time in which a subtask stood still for a checkpoint";
    checkpoint_async_seconds: Histogram = "Time of a subtask's upload, while it went on";
    checkpoints_under_way: Gauge = "Checkpoints that have begun, and are neither complete nor given up";
    checkpoints_unaligned: Counter = "Checkpoints owned whose barriers have overtaken records";
    checkpoint_in_flight_rows: Gauge = "Records in flight that the newest checkpoint has";
    checkpoint_in_flight_bytes: Gauge = "Bytes of the records in flight that the newest checkpoint has";
    checkpoint_bytes: Gauge = "Bytes uploaded by the newest checkpoint";
    checkpoint_epoch: Gauge = "Newest epoch owned";
    committed_epoch: Gauge = "Newest epoch published by all sinks";
    pending_epochs: Gauge = "Epochs owned and not yet published";
    restarts: Counter = "Restarts after a failure";
    region_restarts: Counter = "Restarts after a failure of some tasks alone, while the others went on";
    restored_bytes: Family<Located, Gauge> = "Bytes of state that the last start went on with, by where they were";
}

impl Metrics {
    /// Of what [`Metrics::encode`] gives.
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_encoded_as_it_is_described() {
        let metrics = Metrics::new();
        metrics.source_records.get_or_create(&named("orders")).inc();
        metrics.source_lag_records.get_or_create(&named("orders")).set(1);
        metrics.restored(RestoredBytes::default());
        metrics.checkpoint_seconds.observe(0.5);
        let (text, described) = (metrics.encode(), Metrics::described());
        for (name, sample) in [
            ("tidegate_source_records_total", "{name=\"orders\"} 1"),
            ("tidegate_source_lag_records", "{name=\"orders\"} 1"),
            ("tidegate_restored_bytes", "{location=\"remote\"} 0"),
            ("tidegate_checkpoint_seconds", "_sum 0.5"),
            ("tidegate_restarts_total", " 0"),
            ("tidegate_pending_epochs", " 0"),
        ] {
            assert!(text.lines().any(|line| line == format!("{name}{sample}")), "{name} in\n{text}");
            let found = described.iter().find(|described| described.name == name).unwrap();
            let label = sample.strip_prefix('{').and_then(|labels| labels.split_once('='));
            assert_eq!(found.label, label.map(|(label, _)| label), "{name}");
            let family = name.strip_suffix("_total").unwrap_or(name);
            assert!(text.contains(&format!("# TYPE {family} {}\n", found.kind)), "{name} in\n{text}");
            assert!(text.contains(&format!("# HELP {family} {}", found.meaning)), "{name} in\n{text}");
        }
    }
}
