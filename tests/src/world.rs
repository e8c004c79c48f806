//! Servers, topics and tables for one run of the store-sales job.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::OnceCell, task::JoinHandle};

use crate::{
    counterparts::{ClickHouse, Kafka, S3},
    job::{Job, program},
    oracle::{Rows, Workload, assert_same, clickhouse_rows, kafka_rows, reference, wait_for_markers},
};

/// How long one start of the job may take.
pub const PATIENCE: Duration = Duration::from_mins(6);
/// Of a topic of orders.
pub const PARTITIONS: i32 = 8;

/// The three servers.
pub struct World {
    pub kafka: Kafka,
    pub s3: S3,
    pub clickhouse: ClickHouse,
}

impl World {
    /// Servers of a test's own, which it may kill.
    pub async fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into()).await
    }

    /// As [`World::start`], on another address of this machine.
    pub async fn start_at(address: IpAddr) -> Self {
        let servers = (Kafka::start_at(address), S3::start_at(address), ClickHouse::start_at(address));
        let (kafka, s3, clickhouse) = tokio::join!(servers.0, servers.1, servers.2);
        Self { kafka: kafka.unwrap(), s3: s3.unwrap(), clickhouse: clickhouse.unwrap() }
    }

    /// Servers that the tests share; they end with the test program.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<OnceCell<World>> = OnceLock::new();
        SHARED.get_or_init(OnceCell::new).get_or_init(Self::start).await
    }

    /// Orders in a topic, a table and a topic for the results, and the job between them.
    pub async fn store_sales(&self, name: &str, workload: &Workload) -> Run {
        let run = self.empty_run(name).await;
        let (bootstrap, topic, workload) = (self.kafka.bootstrap().to_owned(), run.orders.clone(), workload.clone());
        tokio::task::spawn_blocking(move || workload.produce(&bootstrap, &topic, PARTITIONS as u64)).await.unwrap();
        run
    }

    /// As [`World::store_sales`], without orders.
    pub async fn empty_run(&self, name: &str) -> Run {
        let orders = format!("orders-{name}");
        Workload::create_topic(self.kafka.bootstrap(), &orders, PARTITIONS).await;
        self.results(name, &orders).await
    }

    /// Orders for a run, `rate` a second, until [`Flow::end`].
    pub fn flow(&self, run: &Run, workload: Workload, rate: u64) -> Flow {
        let stop = Arc::new(AtomicBool::new(false));
        let (bootstrap, topic, stopped) = (self.kafka.bootstrap().to_owned(), run.orders.clone(), stop.clone());
        let produce = move || workload.flow(&bootstrap, &topic, PARTITIONS as u64, rate, &stopped);
        Flow { stop, produced: tokio::task::spawn_blocking(produce) }
    }

    /// A table and a topic for the results of one more run over the same orders.
    pub async fn results(&self, name: &str, orders: &str) -> Run {
        let run = Run {
            orders: orders.to_owned(),
            feed: format!("sales-{name}"),
            table: format!("sales_{}", name.replace('-', "_")),
        };
        self.make_results(&run).await;
        run
    }

    /// The topics and the table of a run, empty.
    pub async fn make(&self, run: &Run) {
        Workload::create_topic(self.kafka.bootstrap(), &run.orders, PARTITIONS).await;
        self.make_results(run).await;
    }

    async fn make_results(&self, run: &Run) {
        Workload::create_topic(self.kafka.bootstrap(), &run.feed, 2).await;
        self.make_table(run).await;
    }

    /// The table of a run, empty.
    pub async fn make_table(&self, run: &Run) {
        let table = format!(
            "CREATE TABLE {} (window_start DateTime64(3, 'UTC'), store_id Int64, total Decimal(22, 2), orders Int64) \
             ENGINE = MergeTree ORDER BY (window_start, store_id) \
             SETTINGS non_replicated_deduplication_window = 10000",
            run.table
        );
        self.clickhouse.query(&table).await.unwrap();
    }

    /// The example's document, pointed at these servers, reading to the end of the topic.
    pub fn job(&self, run: &Run, name: &str) -> Job {
        self.job_at(run, name, self.s3.endpoint(), self.clickhouse.url())
    }

    /// As [`World::job`], with S3 and ClickHouse at other addresses, such as a proxy's.
    pub fn job_at(&self, run: &Run, name: &str, s3: &str, clickhouse: &str) -> Job {
        Job::example("store-sales.yaml")
            .set("metadata.name", name)
            .set("spec.sources[0].kafka.bootstrapServers", self.kafka.bootstrap())
            .set("spec.sources[0].kafka.topic", &run.orders)
            .set("spec.sources[0].kafka.until", "Latest")
            .set("spec.sinks[0].clickHouse.url", clickhouse)
            .set("spec.sinks[0].clickHouse.table", &run.table)
            .set("spec.sinks[1].kafka.bootstrapServers", self.kafka.bootstrap())
            .set("spec.sinks[1].kafka.topic", &run.feed)
            .set("spec.checkpoint.interval", "100ms")
            .set("spec.checkpoint.storage.s3.endpoint", s3)
            .set("spec.checkpoint.storage.s3.bucket", self.s3.bucket())
            .env("TIDEGATE_SECRET_S3_ACCESS_KEY_ID", self.s3.access_key())
            .env("TIDEGATE_SECRET_S3_SECRET_ACCESS_KEY", self.s3.secret_key())
    }

    /// Fails unless both sinks hold the reference, row by row.
    pub async fn assert_exact(&self, run: &Run, workload: &Workload) {
        self.assert_rows(run, &reference(workload)).await;
    }

    /// As [`World::assert_exact`], with another reference.
    pub async fn assert_rows(&self, run: &Run, expected: &Rows) {
        assert_same("ClickHouse", &self.table_rows(run).await, expected);
        assert_same("Kafka", &self.feed_rows(run).await, expected);
    }

    /// Fails unless the job's storage has all that its checkpoints name, as `tidegate inspect --verify` sees it.
    pub async fn assert_storage_whole(&self, job: &str) {
        let (is_whole, said) = self.verify(&format!("s3://{}/{job}", self.s3.bucket())).await;
        assert!(is_whole, "{said}");
    }

    /// Fails unless there is a whole savepoint at `path`, or none.
    pub async fn assert_savepoint(&self, path: &str, is_there: bool) {
        let (is_whole, said) = self.verify(path).await;
        assert_eq!(is_whole, is_there, "{said}");
        assert!(is_there || said.contains("has no savepoint") || said.contains("never completed"), "{said}");
    }

    /// What `tidegate inspect --verify` finds.
    async fn verify(&self, address: &str) -> (bool, String) {
        self.inspect(&["--verify", address]).await
    }

    /// Whether `tidegate inspect` goes well with these arguments, and what it says.
    pub async fn inspect(&self, arguments: &[&str]) -> (bool, String) {
        let inspected = tokio::process::Command::new(program())
            .arg("inspect")
            .args(arguments)
            .env("AWS_ENDPOINT_URL", self.s3.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", self.s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.s3.secret_key())
            .output()
            .await
            .unwrap();
        let (out, error) = (String::from_utf8_lossy(&inspected.stdout), String::from_utf8_lossy(&inspected.stderr));
        (inspected.status.success(), format!("{out}{error}"))
    }

    pub async fn table_rows(&self, run: &Run) -> Rows {
        clickhouse_rows(&self.clickhouse, &run.table).await
    }

    pub async fn feed_rows(&self, run: &Run) -> Rows {
        let (bootstrap, feed) = (self.kafka.bootstrap().to_owned(), run.feed.clone());
        tokio::task::spawn_blocking(move || kafka_rows(&bootstrap, &feed)).await.unwrap()
    }

    /// Waits until the transactions of a run that were committed are so in every partition.
    pub async fn wait_for_markers(&self, run: &Run) {
        for topic in [run.feed.clone(), format!("{}-tidegate-progress", run.feed)] {
            let bootstrap = self.kafka.bootstrap().to_owned();
            tokio::task::spawn_blocking(move || wait_for_markers(&bootstrap, &topic)).await.unwrap();
        }
    }
}

/// Names of one run's topics and table.
#[derive(Debug, Clone)]
pub struct Run {
    pub orders: String,
    pub feed: String,
    pub table: String,
}

/// Orders that go on being written.
#[derive(Debug)]
pub struct Flow {
    stop: Arc<AtomicBool>,
    produced: JoinHandle<Workload>,
}

impl Flow {
    /// Closes every window, and gives the orders that were written.
    pub async fn end(mut self) -> Workload {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.produced).await.unwrap()
    }
}

impl Drop for Flow {
    /// A test that has failed ends, too.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Waits for a condition; fails with `what` when it does not come.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The job's status, if its API answers.
pub async fn status(address: &str) -> Option<serde_json::Value> {
    reqwest::get(format!("http://{address}/v1/status")).await.ok()?.json().await.ok()
}
