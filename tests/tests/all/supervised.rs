//! A process that something watches: it waits for what it needs, says what it waits for, stops when asked, and stays until
//! its last status was read.

use std::path::{Path, PathBuf};

use tidegate_crds::api::{CheckpointDetails, Failure, FailureReason, JobStatus, Phase};
use tidegate_tests::{
    counterparts::{S3, Toxiproxy},
    job::{End, Job, Process},
    local::Local,
    world::PATIENCE,
};

const ORDERS: u64 = 300_000;
const CANCEL: &str = r#"{"purpose": "Cancel"}"#;
const DRAIN: &str = r#"{"purpose": "Suspend", "drain": true}"#;
const SUSPEND: &str = r#"{"purpose": "Suspend"}"#;

fn is(phase: Phase) -> impl Fn(&JobStatus) -> bool {
    move |status| status.phase == phase
}

fn last_word(path: &Path) -> Failure {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// It lives and is not ready, in this phase.
async fn lives(process: &mut Process, phase: Phase) -> JobStatus {
    let status = process.wait_for(&format!("{phase:?}"), PATIENCE, is(phase)).await;
    assert_eq!(process.get("/livez", PATIENCE).await.0, 200, "{phase:?}");
    assert_eq!(process.get("/readyz", PATIENCE).await.0, 503, "{phase:?}");
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_its_storage_and_stays_when_the_job_has_finished() {
    let (s3, proxies) = (S3::start().await.unwrap(), Toxiproxy::start().await.unwrap());
    let proxy = proxies.proxy(s3.endpoint().trim_start_matches("http://")).await.unwrap();
    proxy.disable().await.unwrap();
    let local = Local::new(ORDERS);
    let storage = format!(
        "{{ s3: {{ bucket: {}, endpoint: 'http://{}', \
         accessKeyId: {{ secretKeyRef: {{ name: s3, key: access-key-id }} }}, \
         secretAccessKey: {{ secretKeyRef: {{ name: s3, key: secret-access-key }} }} }} }}",
        s3.bucket(),
        proxy.address()
    );
    let mut job = local
        .job()
        .set("spec.checkpoint.storage", storage)
        .set("metadata.namespace", "shop")
        .env("TIDEGATE_SECRET_S3_ACCESS_KEY_ID", s3.access_key())
        .env("TIDEGATE_SECRET_S3_SECRET_ACCESS_KEY", s3.secret_key())
        .env("TIDEGATE_SUPERVISED", true);
    let mut process = job.start();
    let waits = |status: &JobStatus| status.failure.is_some();
    let status = process.wait_for("a reason to wait", PATIENCE, waits).await;
    assert_eq!((status.phase, status.failure.unwrap().reason), (Phase::Preparing, FailureReason::StorageUnreachable));
    assert_eq!(status.storage, format!("s3://{}/shop.store-sales-local", s3.bucket()));
    lives(&mut process, Phase::Preparing).await;

    proxy.enable().await.unwrap();
    let status = lives(&mut process, Phase::Finished).await;
    assert_eq!((status.failure, status.pending_epochs), (None, 0));
    local.assert_exact();
    let (code, body) = process.ask_to_stop(SUSPEND, PATIENCE).await;
    assert_eq!((code, serde_json::from_str::<JobStatus>(&body).unwrap().phase), (202, Phase::Finished));
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
}

/// A ClickHouse sink where nobody listens.
fn unreachable_sink(local: &Local) -> Job {
    let sink = "[{ name: store_sales, clickHouse: { url: 'http://127.0.0.1:1', table: orders } }]";
    local.job().set("spec.sinks", sink)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_or_a_request_ends_the_wait_for_a_sink() {
    let local = Local::new(ORDERS);
    let mut job = unreachable_sink(&local).env("TIDEGATE_SUPERVISED", true);
    for asked in [false, true] {
        let mut process = job.start();
        let waits = |status: &JobStatus| status.failure.is_some();
        let status = process.wait_for("a reason to wait", PATIENCE, waits).await;
        assert_eq!((status.phase, status.failure.unwrap().reason), (Phase::Preparing, FailureReason::SinkUnreachable));
        if asked {
            // Only a job that runs can do more than stop, and one that can't do that does not stop.
            let (code, said) = process.ask_to_stop(DRAIN, PATIENCE).await;
            assert_eq!((code, said.contains("the job is Preparing")), (409, true), "{said}");
            lives(&mut process, Phase::Preparing).await;
            assert_eq!(process.ask_to_stop(SUSPEND, PATIENCE).await.0, 202);
            lives(&mut process, Phase::Stopped).await;
        }
        process.signal("TERM");
        assert_eq!(process.wait(PATIENCE), End::Finished);
    }
}

#[test]
fn what_ends_a_job_badly_is_its_last_word() {
    let local = Local::new(ORDERS);
    let log = local.path("termination-log");
    let secret = "{ secretKeyRef: { name: never-set, key: password } }";
    let sink =
        format!("[{{ name: store_sales, clickHouse: {{ url: 'http://127.0.0.1:1', table: t, password: {secret} }} }}]");
    let cases = [
        ("a sink that nobody waits for", unreachable_sink(&local), FailureReason::SinkUnreachable, "127.0.0.1:1"),
        (
            "SQL that does not plan",
            local.job().set("spec.sql", "INSERT INTO store_sales SELECT amout FROM orders"),
            FailureReason::DocumentInvalid,
            "did you mean `amount`?",
        ),
        (
            "a field that is none",
            local.job().set("spec.parallelisms", 2).env("TIDEGATE_SUPERVISED", true),
            FailureReason::DocumentInvalid,
            "parallelisms",
        ),
        (
            "a secret that is not there",
            local.job().set("spec.sinks", sink).env("TIDEGATE_SUPERVISED", true),
            FailureReason::SecretMissing,
            "TIDEGATE_SECRET_NEVER_SET_PASSWORD",
        ),
        (
            "files that are not there",
            local
                .job()
                .set(
                    "spec.sources[0]",
                    "{ name: orders, files: { path: /nowhere/*.jsonl }, schema: [{ name: a, type: string }] }",
                )
                .set("spec.sql", "INSERT INTO store_sales SELECT a FROM orders")
                .env("TIDEGATE_SUPERVISED", true),
            FailureReason::SourceUnfit,
            "/nowhere/*.jsonl",
        ),
    ];
    for (what, job, reason, words) in cases {
        let mut job = job.env("TIDEGATE_TERMINATION_LOG", log.display());
        let End::Failed(said) = job.start().wait(PATIENCE) else { panic!("{what}: it is to fail") };
        let Failure { reason: found, message } = last_word(&log);
        assert_eq!(found, reason, "{what}: {message}");
        assert!(message.contains(words) && said.contains(words), "{what}: {message}\n{said}");
        std::fs::remove_file(&log).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_stopped_over_http_with_a_last_checkpoint_or_at_once_and_goes_on_exactly() {
    let local = Local::new(ORDERS);
    let slow = || local.job().set("spec.checkpoint.interval", "1h").env("TIDEGATE_SUPERVISED", true);
    // So slow that no run of it ends by itself.
    let mut job = slow().set("spec.sources[0].generator.rate", 2000);
    for (request, epochs) in [(r#"{"purpose": "Suspend", "finalCheckpoint": false}"#, 0), (SUSPEND, 1), (SUSPEND, 2)] {
        let mut process = job.start();
        process.wait_for("Running", PATIENCE, is(Phase::Running)).await;
        let (code, said) = process.ask_to_stop(r#"{"purpose": "Pause"}"#, PATIENCE).await;
        assert_eq!(code, 400);
        for word in ["Pause", r#""Suspend" or "Cancel""#, "finalCheckpoint"] {
            assert!(said.contains(word), "{said}");
        }
        for _ in 0..3 {
            assert_eq!(process.ask_to_stop(request, PATIENCE).await.0, 202, "{request}");
        }
        let status = lives(&mut process, Phase::Stopped).await;
        assert_eq!(status.failure, None, "{request}");
        if epochs > 0 {
            assert!(status.committed_epoch >= Some(epochs), "{request}: {status:?}");
        } else {
            assert_eq!((status.last_checkpoint, status.committed_epoch), (None, None), "{request}");
        }
        process.signal("TERM");
        assert_eq!(process.wait(PATIENCE), End::Finished);
    }
    let mut process = slow().start();
    lives(&mut process, Phase::Finished).await;
    local.assert_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_deletes_its_own_checkpoints_and_nobody_elses() {
    let local = Local::new(ORDERS);
    let mut job = local
        .job()
        .set("spec.sources[0].generator.rate", 2000)
        .set("spec.checkpoint.interval", "100ms")
        .set("spec.checkpoint.onCancellation", "Delete")
        .env("TIDEGATE_SUPERVISED", true)
        .env("TIDEGATE_STAND_BY", true);
    let mut owner = job.start();
    owner.wait_for_epoch(1, PATIENCE).await;
    let mut waiting = job.start();
    let status = waiting.wait_for("the other process to be named", PATIENCE, stands_by).await;
    assert_eq!(status.phase, Phase::Claiming);
    waiting.signal("INT");
    assert_eq!(waiting.wait(PATIENCE), End::Finished);

    let folder = local.checkpoints().join("store-sales-local");
    assert!(folder.join("data").is_dir(), "who stands by deletes nothing");
    let newest = owner.wait_for_epoch(1, PATIENCE).await;
    owner.wait_for_epoch(newest + 2, PATIENCE).await;
    let cancel = r#"{"purpose": "Cancel", "savepoint": "last"}"#;
    assert_eq!(owner.ask_to_stop(cancel, PATIENCE).await.0, 202);
    lives(&mut owner, Phase::Stopped).await;
    let savepoint = folder.join("savepoints/last");
    assert!(savepoint.join("savepoint.json").is_file(), "a savepoint is its user's");
    assert_eq!(kept(&folder), Vec::<PathBuf>::new());
    drop(owner);

    // What it had put out is what it had read by its last checkpoint, which the savepoint is of: one that goes on from
    // there puts out the rest.
    assert!(!local.found().is_empty());
    let successor = local.job().set("metadata.name", "successor");
    successor.set("spec.restoreFrom", format!("{{ path: '{}' }}", savepoint.display())).finish(PATIENCE);
    local.assert_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_could_not_leave_its_savepoint_has_failed_and_the_job_goes_on() {
    let local = Local::new(ORDERS);
    let log = local.path("termination-log");
    let job = local.job().set("spec.checkpoint.interval", "100ms").env("TIDEGATE_TERMINATION_LOG", log.display());
    let mut process = job.set("spec.sources[0].generator.rate", 2000).start();
    process.wait_for_epoch(1, PATIENCE).await;
    // In the place of a folder.
    let folder = local.checkpoints().join("store-sales-local/savepoints");
    std::fs::write(&folder, "").unwrap();
    let stop = r#"{"purpose": "Suspend", "savepoint": "kept"}"#;
    assert_eq!(process.ask_to_stop(stop, PATIENCE).await.0, 202);
    let end = process.wait(PATIENCE);
    let End::Failed(said) = &end else { panic!("{end:?}") };
    assert!(said.contains("the savepoint `kept` that it was to leave has failed"), "{said}");
    assert!(last_word(&log).message.contains("`kept`"));
    std::fs::remove_file(&folder).unwrap();
    local.job().finish(PATIENCE);
    local.assert_exact();
}

/// What is kept of a job's checkpoints.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.join("data"), folder.join("proof")];
    let mut found = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

/// It waits while another process has the job.
fn stands_by(status: &JobStatus) -> bool {
    status.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::OwnedElsewhere)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_killed_while_it_is_deleted_is_one_that_goes_on_or_one_that_is_begun_anew() {
    for (place, goes_on) in [("before-deleted", true), ("after-deleted", false), ("job-deleted", false)] {
        let local = Local::new(ORDERS);
        let with =
            |job: Job| job.set("spec.checkpoint.interval", "100ms").set("spec.checkpoint.onCancellation", "Delete");
        let mut job = with(local.job()).set("spec.sources[0].generator.rate", 2000);
        let mut owner = job.start_with_fault(place, 1);
        owner.wait_for_epoch(2, PATIENCE).await;
        assert_eq!(owner.ask_to_stop(CANCEL, PATIENCE).await.0, 202);
        assert_eq!(owner.wait(PATIENCE), End::Killed, "{place}");
        let before = local.found();
        assert!(!before.is_empty());
        if !goes_on {
            // As somebody does who begins anew: what the deleted job has put out is another's.
            std::fs::remove_dir_all(local.path("orders")).unwrap();
        }
        with(local.job()).finish(PATIENCE);
        local.assert_exact();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_by_does_not_take_a_job_that_is_cancelled_and_deleted() {
    let local = Local::new(ORDERS);
    let mut job = local
        .job()
        .set("spec.sources[0].generator.rate", 2000)
        .set("spec.checkpoint.interval", "100ms")
        .set("spec.checkpoint.onCancellation", "Delete")
        .env("TIDEGATE_STAND_BY", true);
    let mut owner = job.start();
    owner.wait_for_epoch(1, PATIENCE).await;
    let mut waiting = job.start();
    waiting.wait_for("the other process to be named", PATIENCE, stands_by).await;
    assert_eq!(owner.ask_to_stop(CANCEL, PATIENCE).await.0, 202);
    assert_eq!(owner.wait(PATIENCE), End::Finished);
    let found = local.found();
    let end = waiting.wait(PATIENCE);
    let End::Failed(said) = &end else { panic!("{end:?}") };
    assert!(said.contains("the job was cancelled, and its checkpoints are deleted (attempt 1)"), "{said}");
    assert_eq!(local.found(), found, "nothing is put out after a cancel");
    assert_eq!(kept(&local.checkpoints().join("store-sales-local")), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_taken_on_request_and_each_share_of_it_is_told() {
    let local = Local::new(ORDERS);
    let job = local.job().set("spec.checkpoint.interval", "1h").env("TIDEGATE_SUPERVISED", true);
    let mut process = job.set("spec.sources[0].generator.rate", 2000).start();
    process.wait_for("Running", PATIENCE, is(Phase::Running)).await;
    assert_eq!(process.get("/v1/checkpoints/1", PATIENCE).await.0, 404);
    assert_eq!(process.ask_for_checkpoint(PATIENCE).await.0, 202);
    process.wait_for_epoch(1, PATIENCE).await;
    let (code, body) = process.get("/v1/checkpoints/1", PATIENCE).await;
    assert_eq!(code, 200, "{body}");
    let CheckpointDetails { checkpoint, subtasks } = serde_json::from_str(&body).unwrap();
    let shares: Vec<(&str, u32)> = subtasks.iter().map(|share| (share.task.as_str(), share.subtask)).collect();
    assert_eq!(shares, [("source-orders", 0), ("source-orders", 1)]);
    assert_eq!(subtasks.iter().map(|share| share.bytes).sum::<u64>(), checkpoint.bytes);
    assert!(subtasks.iter().all(|share| share.bytes > 0 && share.times.async_ms <= checkpoint.longest.async_ms));
    process.ask_to_stop(SUSPEND, PATIENCE).await;
    lives(&mut process, Phase::Stopped).await;
    assert_eq!(process.ask_for_checkpoint(PATIENCE).await.0, 409, "nobody could take one");
}

/// A job that reads a record that it can't.
fn poisoned(local: &Local, restart: &str) -> Job {
    let orders = local.path("orders.jsonl");
    std::fs::write(&orders, "{\"a\":1}\n{\"a\":\"one\"}\n").unwrap();
    let source =
        format!("{{ name: orders, files: {{ path: {} }}, schema: [{{ name: a, type: bigint }}] }}", orders.display());
    local
        .job()
        .set("spec.sources[0]", source)
        .set("spec.sql", "INSERT INTO store_sales SELECT a FROM orders")
        .set("spec.restart", restart)
}

#[test]
fn a_record_that_no_restart_gets_past_is_told_as_such_and_ends_a_job_whose_strategy_would_go_on() {
    let local = Local::new(ORDERS);
    let log = local.path("termination-log");
    // The strategy has no end within anybody's patience.
    let restart = r#"{"fixedDelay":{"delay":"10ms","attempts":1000000000},"sameFailures":5}"#;
    let mut job = poisoned(&local, restart).env("TIDEGATE_TERMINATION_LOG", log.display());
    let End::Failed(said) = job.start().wait(PATIENCE) else { panic!("it is to fail") };
    assert!(said.contains("failed 5 times in a row at the same place, so no restart will get past it"), "{said}");
    assert!(!said.contains("failed 6 times in a row"), "{said}");
    let Failure { reason, message } = last_word(&log);
    assert_eq!(reason, FailureReason::RestartsExhausted, "{message}");
    for words in ["failed 5 times in a row", "spec.restart.sameFailures", "orders.jsonl"] {
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_process_says_how_often_the_same_failure_has_come() {
    let local = Local::new(ORDERS);
    // By itself it does not end.
    let mut job = poisoned(&local, r#"{"fixedDelay":{"delay":"10ms","attempts":1000000000}}"#);
    let mut process = job.start();
    for times in [1, 3, 12] {
        let has_come = |status: &JobStatus| status.failures_in_row >= times && status.failure.is_some();
        let status = process.wait_for(&format!("{times} failures"), PATIENCE, has_come).await;
        let failure = status.failure.clone().expect("it was there");
        assert_eq!(failure.reason, FailureReason::SourceUnfit, "{failure:?}");
        assert!(failure.message.contains("orders.jsonl"), "{failure:?}");
        let told = format!("failed {} times in a row at the same place", status.failures_in_row);
        assert_eq!(failure.message.contains(&told), status.failures_in_row >= 3, "{failure:?}");
        assert!(u64::from(status.failures_in_row) <= status.restarts + 1, "{status:?}");
    }
    assert_eq!(process.ended(), None);
}
