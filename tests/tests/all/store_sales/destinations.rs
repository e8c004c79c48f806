//! Rows that wait for a sink when the document sends it elsewhere, or has it no more.

use tidegate_crds::{StreamJob, api::Phase};
use tidegate_tests::{
    job::{End, Job},
    oracle::{Workload, assert_same, reference},
    world::{PATIENCE, Run, World},
};

const ORDERS: u64 = 600_000;

/// The job over `run`, with another field than it began with, if any.
fn job(world: &World, run: &Run, name: &str, other: Option<(&str, &str)>) -> Job {
    let job = world.job(run, name).paced(ORDERS);
    other.into_iter().fold(job, |job, (field, value)| job.set(field, value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_wait_are_refused_elsewhere_and_go_where_they_were_to_go() {
    let world = World::shared().await;
    let (name, workload) = ("sent-elsewhere", Workload::new(141, ORDERS));
    let run = world.store_sales(name, &workload).await;
    let other = world.results("sent-elsewhere-2", &run.orders).await;
    // Until an epoch is owned that has something to publish, and nothing of it is.
    let end = job(world, &run, name, None).start_with_fault("before-publish", 2).wait(PATIENCE);
    assert_eq!(end, End::Killed);
    for (sink, field, value, words) in [
        ("store_sales_feed", "spec.sinks[1].kafka.topic", other.feed.as_str(), "topic"),
        ("store_sales_feed", "spec.sinks[1].kafka.progressTopic", "other-progress", "progressTopic"),
        ("store_sales_feed", "spec.sinks[1].kafka.key", "[window_start]", "key"),
        ("store_sales", "spec.sinks[0].clickHouse.table", other.table.as_str(), "table"),
    ] {
        let end = job(world, &run, name, Some((field, value))).start().wait(PATIENCE);
        let End::Failed(log) = end else { panic!("{field}: {end:?}") };
        for word in [format!("sink `{sink}`"), words.to_owned(), "set that back until they are published".to_owned()] {
            assert!(log.contains(&word), "{field}: {word} is not in:\n{log}");
        }
    }
    assert!(world.feed_rows(&other).await.is_empty() && world.table_rows(&other).await.is_empty());
    job(world, &run, name, None).finish(PATIENCE);
    world.assert_exact(&run, &workload).await;
}

/// The same without its feed.
fn job_without_feed(world: &World, run: &Run, name: &str) -> Job {
    let text = std::fs::read_to_string(Job::path_of("store-sales.yaml")).unwrap();
    let sql = StreamJob::from_yaml(&text).unwrap().spec.sql;
    let insert = "INSERT INTO store_sales_feed SELECT * FROM minute_sales;";
    assert!(sql.contains(insert), "{sql}");
    let sink =
        format!("[{{ name: store_sales, clickHouse: {{ url: '{}', table: {} }} }}]", world.clickhouse.url(), run.table);
    let sql = serde_json::to_string(&sql.replace(insert, "")).unwrap();
    job(world, run, name, None).set("spec.sql", sql).set("spec.sinks", sink)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_can_be_removed_when_no_rows_wait_for_it_any_more() {
    let world = World::shared().await;
    let (name, workload) = ("sink-removed", Workload::new(142, ORDERS));
    let run = world.store_sales(name, &workload).await;
    let end = job(world, &run, name, None).start_with_fault("before-publish", 2).wait(PATIENCE);
    assert_eq!(end, End::Killed);
    let before = world.table_rows(&run).await;
    let end = job_without_feed(world, &run, name).start().wait(PATIENCE);
    let End::Failed(log) = end else { panic!("rows wait for the feed: {end:?}") };
    for words in ["the job has no sink `store_sales_feed` any more", "put it back until they are"] {
        assert!(log.contains(words), "{words} is not in:\n{log}");
    }
    assert_eq!(world.table_rows(&run).await, before, "a refused job has published");

    // It does not come to the end of the orders: without a checkpoint it reads no further.
    let mut process = job(world, &run, name, None).set("spec.checkpoint.interval", "1h").start();
    process.wait_for("what waits to be published", PATIENCE, |status| status.phase == Phase::Running).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    let fed = world.feed_rows(&run).await;
    job_without_feed(world, &run, name).finish(PATIENCE);
    let expected = reference(&workload);
    assert_same("ClickHouse", &world.table_rows(&run).await, &expected);
    assert_same("Kafka", &world.feed_rows(&run).await, &fed);
    let strange: Vec<(&str, u64)> = fed.iter().filter(|(row, count)| expected.count(row) != *count).collect();
    assert!(strange.is_empty() && fed.len() < expected.len(), "{} rows of the feed, and {strange:?}", fed.len());
}
