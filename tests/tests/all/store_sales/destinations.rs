//! Rows that wait for a sink when the document sends it elsewhere.

use tidegate_tests::{
    job::{End, Job},
    oracle::Workload,
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
