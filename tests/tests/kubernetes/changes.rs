//! What people do to a job: suspend, resume, rescale, change, delete, and go on from what was kept.

use tidegate_crds::JobPhase;
use tidegate_tests::platform::{JobName, OPERATOR_NAMESPACE};

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
