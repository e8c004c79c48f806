//! The two jobs that are measured.

use tidegate_tests::{
    job::Job,
    oracle::{Rows, Workload, reference, reference_with_duplicates},
    world::Run,
};

use super::Bench;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Window,
    Deduplicated,
}

/// The example's statements without its deduplication.
const WINDOW_SQL: &str = "\
    CREATE VIEW minute_sales AS \
      SELECT window_start, store_id, SUM(amount) AS total, COUNT(*) AS orders \
      FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE) \
      GROUP BY window_start, window_end, store_id; \
    INSERT INTO store_sales SELECT * FROM minute_sales; \
    INSERT INTO store_sales_feed SELECT * FROM minute_sales;";

impl Variant {
    pub const ALL: [Self; 2] = [Self::Window, Self::Deduplicated];

    pub fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Deduplicated => "deduplication and window",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Deduplicated => "dedup",
        }
    }

    /// The job, with results of its own.
    pub async fn job(self, bench: &Bench, label: &str, interval: &str) -> (Job, Run) {
        let name = format!("{}-{label}", self.label());
        let run = bench.world.results(&name, &bench.orders).await;
        let job = bench.world.job(&run, &name).set("spec.checkpoint.interval", interval);
        let job = bench.settings.iter().fold(job, |job, (path, value)| job.set(path, value));
        let job = match self {
            Self::Window => job.set("spec.sql", WINDOW_SQL),
            // Every order id of the topic is remembered.
            Self::Deduplicated => job.set("spec.stateTtl", "1000h"),
        };
        (job, run)
    }

    pub fn reference(self, workload: &Workload) -> Rows {
        match self {
            Self::Window => reference_with_duplicates(workload),
            Self::Deduplicated => reference(workload),
        }
    }
}
