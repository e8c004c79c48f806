//! What people do to a job: suspend, resume, rescale, change, delete, and go on from what was kept.

use std::path::{Path, PathBuf};

use tidegate_crds::JobPhase;
use tidegate_tests::{
    oracle::{assert_same, reference},
    platform::{JobName, OPERATOR_NAMESPACE},
};

use super::{Case, platform};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_and_resumed_and_scaled() {
    let Some(platform) = platform().await else { return };
    let case = Case::start(&platform, "suspended", &[]).await;
    let (before, _) = platform.committed_after(&case.job, 1).await;
    case.apply(&platform, &[("spec.state", "Suspended")]).await;
    let status = platform.wait(&case.job, "it is suspended", |status| status.phase == Some(JobPhase::Suspended)).await;
    let last = status.last_checkpoint.expect("a last checkpoint");
    assert!(last.epoch > before, "{last:?}");
    assert_eq!(status.committed_epoch, Some(last.epoch), "its output is published");
    assert_eq!(platform.pods(&case.job).await, Vec::new());

    case.apply(&platform, &[]).await;
    let (epoch, _) = platform.committed_after(&case.job, last.epoch).await;
    platform.kubectl(&["scale", "streamjob", "store-sales", "--namespace", case.job.namespace, "--replicas=3"]).await;
    platform
        .kubectl(&[
            "wait",
            "--for=condition=Ready",
            "streamjob/store-sales",
            "--namespace",
            case.job.namespace,
            "--timeout=120s",
        ])
        .await;
    let status = platform.wait(&case.job, "it runs wider", |status| status.phase == Some(JobPhase::Running)).await;
    assert_eq!((status.parallelism, status.restarts), (3, 0), "{status:?}");
    platform.committed_after(&case.job, epoch).await;
    case.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_statement_goes_on_from_the_last_checkpoint_and_a_bad_one_leaves_the_old() {
    let Some(platform) = platform().await else { return };
    let case = Case::start(&platform, "changed", &[]).await;
    let (epoch, pod) = platform.committed_after(&case.job, 1).await;

    let misspelt = "INSERT INTO store_sales SELECT window_start FROM minute_salez";
    case.apply(&platform, &[("spec.sql", misspelt)]).await;
    let status = platform
        .wait(&case.job, "the change is refused", |status| {
            status.conditions.iter().any(|condition| condition.type_ == "UpgradeBlocked" && condition.status == "True")
        })
        .await;
    let blocked = status.conditions.iter().find(|condition| condition.type_ == "UpgradeBlocked").unwrap();
    assert!(blocked.message.contains("minute_salez"), "{}", blocked.message);
    let (epoch, same) = platform.committed_after(&case.job, epoch + 1).await;
    assert_eq!(same.name, pod.name, "the version before goes on");

    // The same rows by another statement: what the operators keep has a home in it.
    let text =
        std::fs::read_to_string(tidegate_tests::platform::repository().join("examples/store-sales.yaml")).unwrap();
    let document = tidegate_crds::StreamJob::from_yaml(&text).unwrap();
    let sql = document
        .spec
        .sql
        .replace("SELECT * FROM minute_sales", "SELECT window_start, store_id, total, orders FROM minute_sales");
    assert_ne!(sql, document.spec.sql);
    let quoted = serde_json::to_string(&sql).unwrap();
    case.apply(&platform, &[("spec.sql", &quoted)]).await;
    let status = platform.wait(&case.job, "the change runs", |status| status.phase == Some(JobPhase::Running)).await;
    assert_eq!(status.restarts, 0, "{status:?}");
    platform.committed_after(&case.job, epoch + 1).await;
    case.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_upgraded_by_helm_leaves_the_job_alone() {
    let Some(platform) = platform().await else { return };
    let case = Case::start(&platform, "helm-upgraded", &[]).await;
    let (epoch, pod) = platform.committed_after(&case.job, 1).await;
    let names = ["get", "pods", "--namespace", OPERATOR_NAMESPACE, "--output", "jsonpath={.items[*].metadata.name}"];
    let before = platform.kubectl(&names).await;
    platform.install(&["log.filter=debug"]).await;
    let operators = platform.kubectl(&names).await;
    assert!(operators.split(' ').any(|name| !before.contains(name)), "{before} are still {operators}");

    // It is the new one's, as it is.
    let (epoch, same) = platform.committed_after(&case.job, epoch + 1).await;
    assert_eq!(same.name, pod.name);
    case.apply(&platform, &[("spec.parallelism", "1")]).await;
    let status = platform.wait(&case.job, "a change is rolled out", |status| status.parallelism == 1).await;
    assert_eq!(status.restarts, 0, "{status:?}");
    platform.committed_after(&case.job, epoch).await;
    platform.install(&[]).await;
    case.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_and_gone_on_with_by_another() {
    let Some(platform) = platform().await else { return };
    let case = Case::start(&platform, "deleted", &[]).await;
    let (_, _) = platform.committed_after(&case.job, 1).await;
    let id = platform.wait(&case.job, "its id is known", |status| status.job_id.is_some()).await.job_id.unwrap();
    platform
        .kubectl(&["delete", "streamjob", "store-sales", "--namespace", case.job.namespace, "--timeout=150s"])
        .await;
    let events = platform
        .kubectl(&[
            "get",
            "events",
            "--namespace",
            case.job.namespace,
            "--field-selector",
            "reason=Deleted",
            "--output",
            "yaml",
        ])
        .await;
    assert!(events.contains("the job has ended; its checkpoints stay in s3://"), "{events}");
    assert!(events.contains(&format!("jobId: {id}")), "{events}");

    let successor = Case { job: JobName { name: "sales-again", ..case.job }, ..case };
    successor.apply(&platform, &[("spec.jobId", &id)]).await;
    let status = platform.wait(&successor.job, "it runs", |status| status.phase == Some(JobPhase::Running)).await;
    assert!(status.attempt > Some(1), "it goes on: {status:?}");
    successor.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_with_its_checkpoints_it_leaves_its_savepoint() {
    let Some(platform) = platform().await else { return };
    let case = Case::start(&platform, "deleted-whole", &[("spec.checkpoint.onCancellation", "Delete")]).await;
    let (epoch, pod) = platform.committed_after(&case.job, 1).await;
    let savepoint = platform.take_savepoint(&case.job, &pod, "keep").await;
    // It has checkpoints that the savepoint knows nothing of.
    platform.committed_after(&case.job, epoch + 2).await;
    let status = platform.wait(&case.job, "its storage is known", |status| status.storage.is_some()).await;
    let storage = status.storage.unwrap();
    let (whole, said) = platform.world.inspect(&["--verify", &storage]).await;
    assert!(whole, "{said}");

    let Case { job, run, orders } = case;
    platform.kubectl(&["delete", "sj", job.name, "--namespace", job.namespace, "--timeout=150s"]).await;
    let asked = ["--namespace", job.namespace, "--field-selector", "reason=Deleted", "--output", "json"];
    let events = platform.kubectl(&[&["get", "events"], &asked[..]].concat()).await;
    assert!(events.contains(&format!("its checkpoints in {storage} are deleted; savepoints stay")), "{events}");
    platform.world.assert_savepoint(&savepoint, true).await;
    let (is_there, said) = platform.world.inspect(&[&storage]).await;
    assert!(is_there && said.contains("ending      deleted") && said.contains("checkpoint  none"), "{said}");
    let folder = storage.strip_prefix(&format!("s3://{}/", platform.world.s3.bucket())).expect("the folder of the job");
    // Another S3 than the tests' own can't be looked into.
    if let Ok(folder) = platform.world.s3.path_of(folder) {
        let left = files(&folder);
        let strange: Vec<_> = left
            .iter()
            .filter(|path| !["savepoints/keep", "log", "hint"].iter().any(|kept| path.starts_with(kept)))
            .collect();
        assert!(strange.is_empty() && !left.is_empty(), "{strange:?} of {left:?}");
    }

    // What it has put out is whole up to its end: with its last checkpoint it has published what it had read.
    let of_all = reference(&orders.end().await);
    let feed = platform.world.feed_rows(&run).await;
    assert_same("Kafka and ClickHouse", &feed, &platform.world.table_rows(&run).await);
    let more: Vec<&str> = feed.iter().filter(|(row, count)| of_all.count(row) != *count).map(|(row, _)| row).collect();
    assert!(more.is_empty() && !feed.is_empty(), "{more:?}");
    platform.kubectl(&["delete", "namespace", job.namespace, "--wait=false"]).await;
}

/// The files below a folder, by their paths in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}
