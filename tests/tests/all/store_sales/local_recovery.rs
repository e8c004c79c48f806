//! One of several workers is lost: the others go on with what they still have, and fetch only what was the lost one's.

use tidegate_crds::api::{JobStatus, Phase, RestoredBytes};
use tidegate_tests::{
    crew::Crew,
    job::End,
    oracle::Workload,
    world::{PATIENCE, World},
};

/// Where the state was that two of three workers went on with when the third, with one subtask of four, was killed.
async fn restored_without_one(name: &str, backend: &str) -> RestoredBytes {
    let world = World::shared().await;
    let run = world.empty_run(name).await;
    let workload = Workload::new(111, 0);
    let flow = world.flow(&run, workload, 20_000);
    let folder = tempfile::tempdir().unwrap();
    let job = world
        .job(&run, name)
        .set("spec.parallelism", 4)
        .set("spec.stateBackend", backend)
        .set("spec.sources[0].kafka.until", "null")
        .set("spec.restart", r#"{"fixedDelay":{"delay":"50ms","attempts":10000}}"#)
        .env("TIDEGATE_LOCAL_FOLDER", folder.path().display());
    let mut crew = Crew::start(job, 3, 2);
    crew.coordinator().wait_for_epoch(5, PATIENCE).await;
    let status = crew.coordinator().wait_for("any status", PATIENCE, |_| true).await;
    assert_eq!(status.last_restore, None, "it began without a checkpoint");
    crew.dismiss_worker(2);
    let moved = |status: &JobStatus| status.phase == Phase::Running && status.restarts == 1;
    let status = crew.coordinator().wait_for("the subtasks elsewhere", PATIENCE, moved).await;
    let restored = status.last_restore.expect("what it went on from");
    assert!(restored.epoch >= 5, "{restored:?}");
    let read = crew.worker(0).log().matches("state is loaded").count();
    assert_eq!(read, 1, "the worker has said what it read:\n{}", crew.worker(0).log());
    let epoch = status.committed_epoch.unwrap_or_default();
    crew.coordinator().wait_for_epoch(epoch + 2, PATIENCE).await;
    let workload = flow.end().await;
    let has_read_all = |status: &JobStatus| status.sources.len() == 1 && status.sources[0].lag == 0;
    crew.coordinator().wait_for("all orders to be read", PATIENCE, has_read_all).await;
    crew.coordinator().signal("TERM");
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
    world.assert_storage_whole(name).await;
    restored.bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_on_the_disk_of_workers_that_are_left_are_not_fetched() {
    let came = restored_without_one("local-disk", "RocksDB").await;
    assert!(came.local_disk_bytes > 0 && came.remote_bytes > 0, "{came:?}");
    // They have the state of three of four subtasks.
    assert!(came.local_disk_bytes + came.local_memory_bytes > came.remote_bytes, "{came:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_in_the_memory_of_workers_that_are_left_are_not_fetched() {
    let came = restored_without_one("local-memory", "Memory").await;
    assert!(came.local_memory_bytes > 0 && came.local_disk_bytes == 0 && came.remote_bytes > 0, "{came:?}");
}
