//! A job that begins at the latest record, and comes to no checkpoint for a while: it reads everything that has come since it
//! was first started.

use tidegate_crds::api::{JobStatus, Phase};
use tidegate_tests::{
    crew::Crew,
    job::{End, Job},
    oracle::Workload,
    world::{PARTITIONS, PATIENCE, Run, World},
};

const ORDERS: u64 = 200_000;

fn job(world: &World, run: &Run, name: &str) -> Job {
    world
        .job(run, name)
        .set("spec.sources[0].kafka.startFrom", "Latest")
        .set("spec.sources[0].kafka.until", "null")
        .set("spec.parallelism", 4)
        .set("spec.checkpoint.interval", "1h")
        .set("spec.restart", r#"{"fixedDelay":{"delay":"50ms","attempts":10000}}"#)
}

fn has_read_all(status: &JobStatus) -> bool {
    status.phase == Phase::Running && status.sources.len() == 1 && status.sources[0].lag == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_before_the_first_checkpoint_is_read_whoever_is_killed() {
    let world = World::shared().await;
    let name = "starts";
    // Nobody reads these.
    let run = world.store_sales(name, &Workload::new(121, ORDERS / 10)).await;
    job(world, &run, name).kill_at_each(&[("before-starts", 1), ("after-starts", 1)], PATIENCE);
    let workload = Workload::new(122, ORDERS);
    let (bootstrap, topic, orders) = (world.kafka.bootstrap().to_owned(), run.orders.clone(), workload.clone());
    tokio::task::spawn_blocking(move || orders.produce(&bootstrap, &topic, PARTITIONS as u64)).await.unwrap();

    let mut crew = Crew::start(job(world, &run, name), 3, 2);
    crew.coordinator().wait_for("all orders to be read", PATIENCE, has_read_all).await;
    crew.dismiss_worker(2);
    let again = |status: &JobStatus| status.restarts == 1 && has_read_all(status);
    let status = crew.coordinator().wait_for("all orders to be read again", PATIENCE, again).await;
    assert!(status.last_checkpoint.is_none(), "{status:?}");
    let attempt = status.attempt;
    assert_eq!(crew.replace_coordinator(), None);
    let again = |status: &JobStatus| status.attempt > attempt && has_read_all(status);
    let status = crew.coordinator().wait_for("all orders to be read once more", PATIENCE, again).await;
    assert!(status.last_checkpoint.is_none(), "{status:?}");

    let stop = r#"{"purpose": "Cancel", "drain": true}"#;
    assert_eq!(crew.coordinator().ask_to_stop(stop, PATIENCE).await.0, 202);
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}
