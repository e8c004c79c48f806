//! A checkpoint storage that is emptied under a running job, or is older than what was published from it: nobody goes on as
//! if, and nobody promises that the next run does.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tidegate_crds::api::Phase;
use tidegate_tests::{
    job::{End, Job, Process},
    local::Local,
    oracle::{Workload, assert_same, kafka_lines},
    world::{PATIENCE, World},
};

/// So many that the job is still running, and so few a second.
const ORDERS: u64 = 1_000_000_000;
const RATE: u64 = 5_000;

/// With a checkpoint every `interval`.
fn slow(local: &Local, interval: &str) -> Job {
    local.job().set("spec.checkpoint.interval", interval).set("spec.sources[0].generator.rate", RATE)
}

/// Starts a job with a checkpoint every `interval`, and waits until its log has so many records.
fn start(local: &Local, interval: &str, records: u64) -> (Process, PathBuf) {
    let record = format!("log/00000001/{:012}", records - 1);
    let mut process = slow(local, interval).start();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let folder = fs::read_dir(local.checkpoints()).ok().and_then(|mut jobs| jobs.next()?.ok());
        if let Some(folder) = folder.filter(|folder| folder.path().join(&record).exists()) {
            return (process, folder.path());
        }
        assert!(process.ended().is_none() && Instant::now() < deadline, "no {record}:\n{}", process.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Deletes all objects; a folder that writers use stays.
fn empty(storage: &Path) {
    for entry in fs::read_dir(storage).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.file_name().and_then(|name| name.to_str()) {
            Some(".temporary") => {}
            // The job may write, or delete, while it goes.
            _ => while entry.exists() && fs::remove_dir_all(&entry).or_else(|_| fs::remove_file(&entry)).is_err() {},
        }
    }
}

fn assert_lost(end: End) {
    let End::Failed(log) = end else { panic!("it ended as if nothing had happened: {end:?}") };
    assert!(log.contains("no longer has `log/00000001/000000000000`"), "{log}");
    assert!(!log.contains("goes on from the last checkpoint"), "{log}");
}

#[test]
fn a_storage_that_is_emptied_ends_the_job_at_its_next_record() {
    let local = Local::new(ORDERS);
    let (process, storage) = start(&local, "200ms", 3);
    empty(&storage);
    assert_lost(process.wait(PATIENCE));
    assert!(!storage.join("log/00000001/000000000000").exists(), "the job was begun anew");
}

/// As when what was mounted there is not any more: all that is left is an empty folder.
#[test]
fn an_empty_folder_in_the_place_of_the_storage_ends_the_job_which_goes_on_when_the_storage_is_back() {
    // Of all jobs, or of this one.
    for is_own in [false, true] {
        let local = Local::new(400_000);
        let (process, own) = start(&local, "200ms", 3);
        let (place, aside) = (if is_own { own.clone() } else { local.checkpoints() }, local.path("aside"));
        fs::rename(&place, &aside).unwrap();
        fs::create_dir_all(&place).unwrap();
        assert_lost(process.wait(PATIENCE));
        assert!(!own.join("log/00000001/000000000000").exists(), "the job was begun anew");
        fs::remove_dir_all(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
        local.job().finish(PATIENCE);
        local.assert_exact();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_promise_what_an_emptied_storage_can_not_keep() {
    let local = Local::new(ORDERS);
    let (mut process, storage) = start(&local, "10min", 1);
    process.wait_for("the job to run", PATIENCE, |status| status.phase == Phase::Running).await;
    empty(&storage);
    process.signal("TERM");
    assert_lost(process.wait(PATIENCE));
}

/// Copies all files of a folder, in place of those that have their names.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let name = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &name);
        } else {
            fs::copy(&entry, &name).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_checkpoints_count_when_they_are_brought_back() {
    let local = Local::new(1_500_000);
    let (storage, older, newer) = (local.checkpoints(), local.path("older"), local.path("newer"));
    let job = || local.job().set("spec.checkpoint.interval", "200ms");
    for (epoch, kept) in [(2, &older), (6, &newer)] {
        // Killed long before it has read them all.
        let mut process = job().set("spec.sources[0].generator.rate", 30_000).start();
        process.wait_for_epoch(epoch, PATIENCE).await;
        assert_eq!(process.kill_9(), End::Killed);
        copy(&storage, kept);
    }
    fs::remove_dir_all(&storage).unwrap();
    copy(&older, &storage);
    for _ in 0..2 {
        let End::Failed(log) = job().start().wait(PATIENCE) else { panic!("the output is newer than the checkpoints") };
        assert!(log.contains("is ahead of the job's log"), "{log}");
    }
    copy(&newer, &storage);
    assert_eq!(job().start().wait(PATIENCE), End::Finished);
    local.assert_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_ahead_of_older_checkpoints_is_left_alone_until_the_newest_are_brought_back() {
    const TOPIC: &str = "orders-ahead";
    let kafka = &World::shared().await.kafka;
    Workload::create_topic(kafka.bootstrap(), TOPIC, 2).await;
    let local = Local::new(600_000);
    let (storage, older, newer) = (local.checkpoints(), local.path("older"), local.path("newer"));
    let sink =
        format!("[{{ name: store_sales, kafka: {{ bootstrapServers: '{}', topic: {TOPIC} }} }}]", kafka.bootstrap());
    let job = |interval| local.job().set("spec.sinks", &sink).set("spec.checkpoint.interval", interval).paced(600_000);
    let published = async || {
        let bootstrap = kafka.bootstrap().to_owned();
        tokio::task::spawn_blocking(move || kafka_lines(&bootstrap, TOPIC)).await.unwrap()
    };
    for kept in [&older, &newer] {
        // It reads some orders, and no more until it stops with its only checkpoint.
        let mut process = job("1h").start();
        while process.records_read("orders", PATIENCE).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // No transaction is left open that would have to be waited for.
        process.signal("TERM");
        assert_eq!(process.wait(PATIENCE), End::Finished);
        copy(&storage, kept);
    }
    fs::remove_dir_all(&storage).unwrap();
    copy(&older, &storage);
    let before = published().await;
    for _ in 0..2 {
        let End::Failed(log) = job("1h").start().wait(PATIENCE) else {
            panic!("the topic is newer than the checkpoints")
        };
        let words = format!("the progress topic `{TOPIC}-tidegate-progress` is ahead of the job's log");
        assert!(log.contains(&words), "{log}");
    }
    assert_same("what was published before", &published().await, &before);
    copy(&newer, &storage);
    job("200ms").finish(PATIENCE);
    assert_same("Kafka", &published().await, &local.expected());
}
