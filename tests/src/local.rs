//! A job without servers that passes every order on: generated orders into files, checkpoints in a folder.

use std::path::{Path, PathBuf};

use crate::{
    job::Job,
    oracle::{Rows, Workload, assert_same, file_rows, reference},
};

const EXAMPLE: &str = "store-sales-local.yaml";

/// Where the job's files are, and what has to be in them.
#[derive(Debug)]
pub struct Local {
    folder: tempfile::TempDir,
    orders: u64,
}

impl Local {
    pub fn new(orders: u64) -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), orders }
    }

    /// The example's document with all of its orders, two subtasks, and this SQL in place of its own.
    pub fn job(&self) -> Job {
        self.job_of(Job::example(EXAMPLE)).set("spec.checkpoint.storage.local.path", self.checkpoints().display())
    }

    /// The same with its checkpoints in HDFS, as this user.
    pub fn job_in_hdfs(&self, url: &str, user: &str) -> Job {
        let example = std::fs::read_to_string(Job::path_of(EXAMPLE)).expect("the example");
        let (rest, local) = example.rsplit_once("storage:").expect("a storage, at the end");
        assert!(local.trim_start().starts_with("{ local:") && local.trim_end().ends_with('}'), "{local}");
        let document = self.path("in-hdfs.yaml");
        let text = format!("{rest}storage: {{ hdfs: {{ url: \"{url}\", user: {user} }} }}\n");
        std::fs::write(&document, text).expect("a document");
        self.job_of(Job::of(document))
    }

    /// The example's job as it is: sales per store and minute, each order counted once.
    pub fn sales_job(&self) -> Job {
        Job::example(EXAMPLE)
            .set("spec.sources[0].generator.count", self.orders)
            .set("spec.sinks[0].files.path", self.output().display())
            .set("spec.sinks[0].files.shared", true)
            .set("spec.checkpoint.storage.local.path", self.checkpoints().display())
    }

    /// Fails unless the sales are in the files, row by row as in the reference.
    pub fn assert_sales(&self) {
        assert_same("files", &file_rows(&self.output()), &reference(&self.workload()));
    }

    /// A job that passes on of each order the first that came: there is an exchange in it.
    pub fn unique_job(&self) -> Job {
        self.job().set(
            "spec.sql",
            "CREATE VIEW unique_orders AS SELECT order_id, store_id, amount, ts FROM (SELECT *, ROW_NUMBER() OVER \
             (PARTITION BY order_id ORDER BY ts) AS n FROM orders) WHERE n = 1; \
             INSERT INTO store_sales SELECT order_id, store_id, amount, ts FROM unique_orders",
        )
    }

    /// Fails unless every order is in the files at least once, and nothing else. Gives how many rows are repeats.
    pub fn assert_none_lost(&self) -> u64 {
        self.assert_none_lost_of(&self.found())
    }

    /// As [`Local::assert_none_lost`], of rows that went elsewhere.
    pub fn assert_none_lost_of(&self, found: &Rows) -> u64 {
        let expected = self.expected();
        let lost: Vec<&str> =
            expected.iter().map(|(row, _)| row).filter(|row| found.count(row) == 0).take(10).collect();
        let strange: Vec<&str> =
            found.iter().map(|(row, _)| row).filter(|row| expected.count(row) == 0).take(10).collect();
        assert!(lost.is_empty() && strange.is_empty(), "lost: {lost:?}, and never there: {strange:?}");
        found.len() - expected.iter().count() as u64
    }

    fn job_of(&self, job: Job) -> Job {
        job.set("spec.sources[0].generator.count", self.orders)
            .set("spec.sql", "INSERT INTO store_sales SELECT order_id, store_id, amount, ts FROM orders")
            .set("spec.sinks[0].files.path", self.output().display())
            .set("spec.sinks[0].files.shared", true)
    }

    /// A file of the run's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.path("checkpoints")
    }

    fn output(&self) -> PathBuf {
        self.path("orders")
    }

    /// Fails unless every order is in the files, once.
    pub fn assert_exact(&self) {
        assert_same("files", &self.found(), &self.expected());
    }

    pub fn found(&self) -> Rows {
        lines(&self.output())
    }

    /// Names of what is half written in the folder of the output.
    pub fn hidden(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.output()).expect("a folder");
        let names = entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with('.')).collect()
    }

    fn workload(&self) -> Workload {
        let spec = serde_json::json!({
            "count": self.orders, "stores": 1000, "duplicates": 0.05, "outOfOrder": 0.2, "maxDelay": "5s"
        });
        Workload::of(&serde_json::from_value(spec).expect("a generator"))
    }

    /// Every order, once.
    pub fn expected(&self) -> Rows {
        passed_on(&self.workload())
    }
}

/// All lines of the files in a folder.
pub fn lines(folder: &Path) -> Rows {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let read = |path| std::fs::read_to_string(path).expect("a file of lines");
    files.flat_map(|path| read(path).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The lines of a job that passes every order on as it is.
pub fn passed_on(workload: &Workload) -> Rows {
    let line = |index| {
        let order = workload.orders.order(index);
        let instant = chrono::DateTime::from_timestamp_millis(order.ts_ms).expect("an instant");
        format!(
            r#"{{"order_id":"{}","store_id":{},"amount":{}.{:02},"ts":"{}"}}"#,
            order.id(),
            order.store_id,
            order.cents / 100,
            order.cents % 100,
            instant.format("%Y-%m-%dT%H:%M:%S%.3fZ")
        )
    };
    (0..workload.count).map(line).collect()
}
