//! Servers that fail while the job runs.

use std::{
    collections::BTreeSet,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use tidegate_crds::api::{FailureReason, JobStatus, Phase};
use tidegate_tests::{
    counterparts::{
        Toxiproxy, clickhouse, kafka, s3,
        toxiproxy::{Direction, Toxic},
    },
    job::End,
    oracle::Workload,
    skip::is_named,
    world::{PARTITIONS, PATIENCE, World, status, until},
};

const ORDERS: u64 = 1_500_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_refuses_writes_for_a_while() {
    if is_named(s3::VARIABLE) {
        return;
    }
    let mut world = World::start().await;
    let workload = Workload::new(21, 3 * ORDERS);
    let run = world.store_sales("s3-refuses", &workload).await;
    let mut job = world.job(&run, "s3-refuses").paced(workload.count).set("spec.checkpoint.tolerableFailures", 1000);
    let mut process = job.start();
    process.wait_for_epoch(2, PATIENCE).await;
    let api = process.api(PATIENCE);
    let attempt = status(&api).await.unwrap()["attempt"].clone();
    // One that hits the log in the middle of an append fails no checkpoint: nothing goes on until its outcome is known.
    let mut has_failed = false;
    while !has_failed {
        world.s3.refuse_writes().await.unwrap();
        let failed = until("a failed checkpoint", || async {
            let history = reqwest::get(format!("http://{api}/v1/checkpoints")).await.unwrap().text().await.unwrap();
            history.contains("\"failure\":\"")
        });
        has_failed = tokio::time::timeout(Duration::from_secs(1), failed).await.is_ok();
        world.s3.accept_writes().await.unwrap();
        // The next one is to come at another moment of a checkpoint's life.
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
    assert_eq!(status(&api).await.unwrap()["attempt"], attempt, "the job went on within tolerableFailures");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_s3_are_lost() {
    if is_named(s3::VARIABLE) {
        return;
    }
    let world = World::shared().await;
    let workload = Workload::new(22, 2 * ORDERS);
    let run = world.store_sales("answers-lost", &workload).await;
    let proxies = Toxiproxy::start().await.unwrap();
    let proxy = proxies.proxy(world.s3.endpoint().trim_start_matches("http://")).await.unwrap();
    let address = format!("http://{}", proxy.address());
    let mut job = world
        .job_at(&run, "answers-lost", &address, world.clickhouse.url())
        .paced(workload.count)
        .set("spec.checkpoint.tolerableFailures", 1000);
    let mut process = job.start();
    process.wait_for_epoch(2, PATIENCE).await;
    let stored = world.s3.path_of("answers-lost").unwrap();
    let (mut rounds, mut lost) = (0, 0);
    while rounds < 4 || lost < 2 {
        // Requests arrive and are carried out, answers do not come.
        proxy.add("lost", Toxic::Timeout { ms: 100 }, Direction::ToClient).await.unwrap();
        let before = objects(&stored);
        tokio::time::sleep(Duration::from_millis(250)).await;
        // What was written since then had no answer: it would have come behind that.
        lost += objects(&stored).difference(&before).count();
        proxy.remove("lost").await.unwrap();
        assert_eq!(process.ended(), None, "after {rounds} rounds, in which {lost} objects were written");
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

/// The files below a folder of the store.
fn objects(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        // One may be deleted meanwhile.
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => drop(found.insert(entry.path())),
                Err(_) => {}
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_killed_and_comes_back() {
    if is_named(kafka::VARIABLE) {
        return;
    }
    let mut world = World::start().await;
    let workload = Workload::new(23, ORDERS);
    let run = world.store_sales("broker-killed", &workload).await;
    let mut job = world.job(&run, "broker-killed").paced(ORDERS);
    let mut process = job.start();
    process.wait_for_epoch(2, PATIENCE).await;
    // Kafka 4.3 loses the ends of transactions that were committed and not yet told to their partitions: see "A
    // transaction that hangs" in docs/guide/kafka.md. So the job begins none before the broker is dead.
    process.signal("STOP");
    world.wait_for_markers(&run).await;
    world.kafka.kill_9().unwrap();
    let before = process.log().len();
    process.signal("CONT");
    let is_felt = || process.log()[before..].contains("kafka client reports an error; it goes on trying");
    until("the job to miss the broker", async || is_felt()).await;
    world.kafka.restart().await.unwrap();
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_is_down_for_several_epochs() {
    if is_named(clickhouse::VARIABLE) {
        return;
    }
    let mut world = World::start().await;
    let workload = Workload::new(24, ORDERS);
    let run = world.store_sales("clickhouse-down", &workload).await;
    let mut job = world.job(&run, "clickhouse-down").paced(ORDERS);
    let mut process = job.start();
    process.wait_for_epoch(1, PATIENCE).await;
    let api = process.api(PATIENCE);
    world.clickhouse.kill_9().unwrap();
    until("pending epochs", || async { status(&api).await.unwrap()["pendingEpochs"].as_u64() >= Some(3) }).await;
    world.clickhouse.restart().await.unwrap();
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

/// Whether the sources of a job with a sink that is down have paused, since so many epochs wait.
///
/// What the sink took before it went down may be told after, and makes room for one more checkpoint: nothing is published
/// any more once a try has failed.
pub(super) fn have_paused(most_pending: u64) -> impl Fn(&JobStatus) -> bool {
    move |status| {
        let is_down = status.sinks.iter().any(|sink| sink.failure.is_some());
        is_down && status.pending_epochs >= most_pending && status.checkpoints_under_way == 0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_pause_while_too_many_epochs_wait_and_lose_nothing() {
    const MOST: u64 = 3;
    if is_named(clickhouse::VARIABLE) {
        return;
    }
    let mut world = World::start().await;
    let workload = Workload::new(25, ORDERS);
    let run = world.store_sales("paused", &workload).await;
    let mut job = world.job(&run, "paused").paced(ORDERS).set("spec.checkpoint.maxPendingEpochs", MOST);
    let mut process = job.start();
    process.wait_for_epoch(1, PATIENCE).await;
    world.clickhouse.kill_9().unwrap();
    let paused = process.wait_for("the sources to pause", PATIENCE, have_paused(MOST)).await;
    let read = process.records_read("orders", PATIENCE).await;
    let newest = paused.last_checkpoint.map(|checkpoint| checkpoint.epoch);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let status = process.wait_for("a status", PATIENCE, |_| true).await;
        assert_eq!(status.last_checkpoint.map(|checkpoint| checkpoint.epoch), newest, "a checkpoint of a paused job");
    }
    assert_eq!(process.records_read("orders", PATIENCE).await, read, "a paused source has read");
    assert!(read < ORDERS, "the job had read everything before it paused");
    world.clickhouse.restart().await.unwrap();
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_dropped_ends_the_job_and_has_every_row_when_it_was_made_again() {
    let world = World::shared().await;
    let workload = Workload::new(26, ORDERS / 3);
    let run = world.empty_run("table-dropped").await;
    let produce = async |orders: Range<u64>| {
        let (bootstrap, topic, workload) = (world.kafka.bootstrap().to_owned(), run.orders.clone(), workload.clone());
        let produced = move || workload.produce_some(&bootstrap, &topic, orders, 0..PARTITIONS as u64);
        tokio::task::spawn_blocking(produced).await.unwrap();
    };
    // Of less time than the watermark stays behind: there is no row yet that the dropped table could take with it.
    produce(0..1000).await;
    let mut job = world.job(&run, "table-dropped").set("spec.sources[0].kafka.until", "null");
    let mut process = job.start();
    let has_read_all = |status: &JobStatus| status.sources.len() == 1 && status.sources[0].lag == 0;
    process.wait_for("the first orders", PATIENCE, has_read_all).await;
    assert!(world.table_rows(&run).await.is_empty());
    world.clickhouse.query(&format!("DROP TABLE {}", run.table)).await.unwrap();
    produce(1000..workload.count).await;
    let (bootstrap, topic, closing) = (world.kafka.bootstrap().to_owned(), run.orders.clone(), workload.clone());
    tokio::task::spawn_blocking(move || closing.close(&bootstrap, &topic, PARTITIONS as u64)).await.unwrap();

    let is_unfit =
        |status: &JobStatus| status.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::SinkUnfit);
    let refused = process.wait_for("the sink to be called unfit", PATIENCE, is_unfit).await;
    let message = refused.failure.unwrap().message;
    assert!(message.contains("`store_sales`") && message.contains("was refused 10 times in a row"), "{message}");
    let End::Failed(log) = process.wait(PATIENCE) else { panic!("the job has ended without its table") };
    assert!(log.contains("the job is ours attempt=2") && !log.contains("the job is ours attempt=3"), "{log}");
    assert!(log.lines().any(|line| line.starts_with("error:") && line.contains("times in a row")), "{log}");

    world.make_table(&run).await;
    let mut process = job.start();
    // Only a job that runs takes a last checkpoint, before which windows close.
    let is_done = |status: &JobStatus| status.phase == Phase::Running && has_read_all(status);
    process.wait_for("all orders to be read", PATIENCE, is_done).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}
