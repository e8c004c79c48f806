//! Whole reconciles against the fake cluster: which writes each decision makes, and that an operator killed between any
//! two of them is followed by one that brings the job where it should be.

use std::sync::Arc;

use kube::core::DeserializeGuard;
use serde_json::{Value, json};
use tidegate_crds::{
    JobPhase,
    api::{Phase, StopPurpose},
};

use crate::{
    build::FINALIZER,
    fake::{Fake, JOB},
};

const STATUS: &str = "PATCH streamjobs/sales/status";

/// A cluster in which the job runs, and nothing is left to do.
async fn running() -> Fake {
    let fake = Fake::with_job();
    fake.settle().await;
    assert_eq!(fake.job().unwrap().status.unwrap().phase, Some(JobPhase::Running));
    fake.api.forget_writes();
    fake
}

fn job_files(fake: &Fake) -> Vec<String> {
    let maps = fake.api.list("configmaps");
    maps.iter().map(|map| map["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The writes of one reconcile, names of job files left out.
async fn writes(fake: &Fake) -> Vec<String> {
    fake.api.forget_writes();
    fake.reconcile().await.unwrap();
    let writes = fake.api.writes().into_iter();
    writes
        .map(|write| {
            write
                .split("configmaps/")
                .next()
                .map(|verb| if write.contains("configmaps/") { format!("{verb}configmaps/*") } else { write.clone() })
                .unwrap()
        })
        .collect()
}

fn finalizers(fake: &Fake) -> Value {
    fake.api.get("streamjobs", JOB).unwrap()["metadata"]["finalizers"].clone()
}

#[tokio::test]
async fn a_new_job_is_protected_before_anything_is_made() {
    let fake = Fake::with_job();
    assert_eq!(writes(&fake).await, ["PATCH streamjobs/sales"]);
    assert_eq!(finalizers(&fake), json!([FINALIZER]));
    let expected = [
        STATUS,
        "PATCH configmaps/*",
        "PATCH serviceaccounts/sales",
        "PATCH services/sales",
        "PATCH poddisruptionbudgets/sales",
        "PATCH networkpolicies/sales",
        "PATCH deployments/sales",
    ];
    let mut made = writes(&fake).await;
    made.sort_by_key(|write| expected.iter().position(|expected| expected == write));
    assert_eq!(made, expected);
}

#[tokio::test]
async fn a_job_that_is_as_it_should_be_costs_no_write() {
    let fake = running().await;
    for _ in 0..3 {
        assert_eq!(writes(&fake).await, Vec::<String>::new());
    }
    // Progress alone is no news, until it is old enough.
    fake.jobs.say(|job| job.pending_epochs += 1);
    assert_eq!(writes(&fake).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_contradiction_changes_the_status_and_nothing_else() {
    let fake = running().await;
    fake.api.change("streamjobs", JOB, json!({ "spec": { "parallelism": 500 } }));
    assert_eq!(writes(&fake).await, [STATUS]);
    let status = fake.job().unwrap().status.unwrap();
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "SpecInvalid"));
    assert_eq!(status.phase, Some(JobPhase::Running), "what ran goes on");
}

#[tokio::test]
async fn a_name_that_is_somebody_elses_is_left_alone() {
    let fake = Fake::with_job();
    let theirs = json!({ "metadata": { "name": JOB, "uid": "theirs" }, "spec": { "replicas": 9 } });
    fake.api.create("deployments", theirs);
    fake.reconcile().await.unwrap();
    assert_eq!(writes(&fake).await, [STATUS]);
    assert_eq!(fake.api.get("deployments", JOB).unwrap()["spec"], json!({ "replicas": 9 }));
    let status = fake.job().unwrap().status.unwrap();
    assert!(status.conditions.iter().any(|condition| condition.reason == "NameTaken"));
}

#[tokio::test]
async fn an_object_that_kubernetes_finds_invalid_is_told_in_the_status() {
    let fake = running().await;
    fake.api.reject("deployments");
    fake.api.change("streamjobs", JOB, json!({ "spec": { "image": "other" } }));
    fake.reconcile().await.unwrap();
    let status = fake.job().unwrap().status.unwrap();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str(), ready.message.as_str()),
        ("False", "PodRefused", "Invalid")
    );
    assert_eq!((status.phase, fake.jobs.running()), (Some(JobPhase::Running), 1), "what ran goes on");
}

#[tokio::test]
async fn a_rollout_restart_is_a_version_of_its_own() {
    let fake = running().await;
    let before = fake.job().unwrap().status.unwrap().revision;
    let annotations = json!({ "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z" });
    fake.api.change(
        "deployments",
        JOB,
        json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } }),
    );
    fake.settle().await;
    let status = fake.job().unwrap().status.unwrap();
    assert!(status.revision > before, "{status:?}");
    assert_eq!((fake.jobs.running(), fake.api.list("pods").len()), (1, 1));
}

#[tokio::test]
async fn an_object_that_was_changed_by_hand_is_put_back() {
    let fake = running().await;
    fake.api.change("deployments", JOB, json!({ "spec": { "replicas": 5 } }));
    assert_eq!(writes(&fake).await, ["PATCH deployments/sales"]);
    fake.api.delete("services", JOB);
    assert_eq!(writes(&fake).await, ["PATCH services/sales"]);
    assert_eq!(fake.api.get("deployments", JOB).unwrap()["spec"]["replicas"], 1);
}

#[tokio::test]
async fn a_change_rolls_out_beside_what_runs_and_its_old_job_file_goes_at_the_end() {
    let fake = running().await;
    let before = job_files(&fake);
    fake.api.change("streamjobs", JOB, json!({ "spec": { "parallelism": 2 } }));
    let mut made = writes(&fake).await;
    made.sort();
    assert_eq!(made, ["PATCH configmaps/*", "PATCH deployments/sales", STATUS]);
    assert_eq!(job_files(&fake).len(), 2, "the old pod may have to start again");
    fake.settle().await;
    let after = job_files(&fake);
    assert_eq!((after.len(), fake.jobs.running()), (1, 1));
    assert_ne!(after, before);
    assert_eq!(fake.job().unwrap().status.unwrap().restarts, 0);
}

#[tokio::test]
async fn what_only_the_operator_acts_on_rolls_nothing_out() {
    let fake = running().await;
    fake.api.change("streamjobs", JOB, json!({ "spec": { "onDelete": "Abandon", "deletionDeadline": "5m" } }));
    assert_eq!(writes(&fake).await, [STATUS], "only the generation that was looked at");
}

#[tokio::test]
async fn a_suspended_job_is_stopped_then_scaled_down_and_goes_on_with_its_revision() {
    let fake = running().await;
    let revision = fake.job().unwrap().status.unwrap().revision;
    fake.api.change("streamjobs", JOB, json!({ "spec": { "state": "Suspended" } }));
    assert_eq!(writes(&fake).await, [STATUS]);
    assert_eq!(fake.jobs.stops(), [("10.0.0.1".to_owned(), StopPurpose::Suspend)]);
    fake.play();
    assert_eq!(writes(&fake).await, ["PATCH deployments/sales"]);
    fake.settle().await;
    assert_eq!(fake.job().unwrap().status.unwrap().phase, Some(JobPhase::Suspended));
    fake.api.change("streamjobs", JOB, json!({ "spec": { "state": "Running" } }));
    fake.settle().await;
    let status = fake.job().unwrap().status.unwrap();
    assert_eq!((status.phase, status.revision, status.restarts), (Some(JobPhase::Running), revision, 0));
}

#[tokio::test]
async fn a_finished_job_is_scaled_down_and_stays_so() {
    let fake = running().await;
    fake.jobs.say(|job| job.phase = Phase::Finished);
    fake.settle().await;
    let status = fake.job().unwrap().status.unwrap();
    assert_eq!((status.phase, fake.api.list("pods").len()), (Some(JobPhase::Finished), 0));
    assert_eq!(writes(&fake).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deleted_job_is_stopped_for_good_and_leaves_nothing() {
    let fake = running().await;
    fake.api.delete("streamjobs", JOB);
    fake.reconcile().await.unwrap();
    assert_eq!(fake.jobs.stops(), [("10.0.0.1".to_owned(), StopPurpose::Cancel)]);
    fake.play();
    assert_eq!(writes(&fake).await, ["PATCH streamjobs/sales"]);
    assert!(fake.job().is_none());
    for kind in ["deployments", "configmaps", "services", "serviceaccounts", "poddisruptionbudgets", "networkpolicies"]
    {
        assert_eq!(fake.api.list(kind), Vec::<Value>::new(), "{kind}");
    }
}

#[tokio::test]
async fn a_deletion_lets_go_of_a_job_that_does_not_end_in_time() {
    let fake = running().await;
    fake.api.delete("streamjobs", JOB);
    fake.jobs.fall_silent();
    assert_eq!(writes(&fake).await, [STATUS], "the pod may answer yet");
    fake.api.change("streamjobs", JOB, json!({ "metadata": { "deletionTimestamp": "2020-01-01T00:00:00Z" } }));
    assert_eq!(writes(&fake).await, ["PATCH streamjobs/sales"]);
    assert!(fake.job().is_none());
}

#[tokio::test]
async fn a_deletion_does_not_wait_for_a_pod_that_can_not_run() {
    let fake = running().await;
    fake.jobs.fall_silent();
    let waiting = json!({ "reason": "ImagePullBackOff", "message": "not found" });
    let container = json!({ "name": "tidegate", "ready": false, "restartCount": 0, "image": "", "imageID": "",
        "state": { "waiting": waiting } });
    let pod = fake.api.list("pods")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    fake.api.change("pods", &pod, json!({ "status": { "containerStatuses": [container] } }));
    fake.api.delete("streamjobs", JOB);
    assert_eq!(writes(&fake).await, ["PATCH streamjobs/sales"]);
    assert!(fake.job().is_none() && fake.jobs.stops().is_empty());
}

#[tokio::test]
async fn a_job_that_stopped_unasked_is_rolled_out_anew() {
    let fake = running().await;
    let before = fake.job().unwrap().status.unwrap().revision;
    fake.jobs.say(|job| job.phase = Phase::Stopped);
    let mut made = writes(&fake).await;
    made.sort();
    assert_eq!(made, ["PATCH deployments/sales", STATUS], "its job file is the same");
    fake.settle().await;
    one_runs(&fake);
    assert!(fake.job().unwrap().status.unwrap().revision > before);
}

#[tokio::test]
async fn a_write_from_an_old_view_is_refused() {
    let fake = running().await;
    let old = fake.job().unwrap();
    fake.api.change("streamjobs", JOB, json!({ "spec": { "parallelism": 3 } }));
    fake.settle().await;
    let newest = fake.api.get("deployments", JOB).unwrap();
    // An operator that was asleep since before the change, and one that has not seen the Deployment yet.
    for knows_the_deployment in [true, false] {
        let stale =
            super::reconcile(Arc::new(DeserializeGuard(Ok(old.clone()))), fake.stale_context(knows_the_deployment))
                .await;
        assert!(stale.unwrap_err().is_conflict());
        assert_eq!(fake.api.get("deployments", JOB).unwrap(), newest);
    }
}

fn ask_for_workers(fake: &Fake) {
    let workers = json!({ "slotsPerWorker": 2, "standby": 1 });
    fake.api.change("streamjobs", JOB, json!({ "spec": { "parallelism": 4, "workers": workers } }));
}

/// What a job of several pods has besides.
const OF_WORKERS: [(&str, &str); 5] = [
    ("secrets", "sales-tls"),
    ("services", "sales-coordinator"),
    ("poddisruptionbudgets", "sales-workers"),
    ("networkpolicies", "sales-workers"),
    ("deployments", "sales-workers"),
];

fn has_workers(fake: &Fake) -> Vec<bool> {
    OF_WORKERS.iter().map(|(kind, name)| fake.api.get(kind, name).is_some()).collect()
}

#[tokio::test]
async fn workers_are_made_before_the_version_that_needs_them_and_find_its_coordinator() {
    let fake = running().await;
    ask_for_workers(&fake);
    let made = writes(&fake).await;
    let place = |write: &str| made.iter().position(|made| made == write).unwrap_or_else(|| panic!("{made:?}"));
    let first = [
        "POST secrets/sales-tls",
        "PATCH services/sales-coordinator",
        "PATCH poddisruptionbudgets/sales-workers",
        "PATCH networkpolicies/sales-workers",
        "PATCH deployments/sales-workers",
    ];
    for write in first {
        assert!(place(write) < place("PATCH deployments/sales"), "{write}: {made:?}");
    }
    let (coordinator, workers) =
        (fake.api.get("deployments", JOB).unwrap(), fake.api.get("deployments", "sales-workers").unwrap());
    assert_eq!(workers["spec"]["replicas"], 3, "two for four subtasks, and one that stands by");
    let pod = |deployment: &Value| deployment["spec"]["template"]["spec"].clone();
    let host = format!(
        "{}.{}",
        pod(&coordinator)["hostname"].as_str().unwrap(),
        pod(&coordinator)["subdomain"].as_str().unwrap()
    );
    let container = pod(&workers)["containers"][0].clone();
    assert_eq!(container["args"], json!(["worker", "/etc/tidegate/job.json"]));
    let variable = |name: &str| {
        let all = container["env"].as_array().unwrap();
        all.iter().find(|variable| variable["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(variable("TIDEGATE_COORDINATOR"), format!("{host}.shop.svc:8082"));
    assert_eq!(variable("TIDEGATE_SLOTS"), "2");
    let labels = &workers["spec"]["template"]["metadata"]["labels"];
    assert_eq!((labels.get("tidegate.dev/job"), &labels["tidegate.dev/workers"]), (None, &json!(JOB)));
    fake.settle().await;
    assert_eq!(writes(&fake).await, Vec::<String>::new());
}

#[tokio::test]
async fn certificates_are_made_once() {
    let fake = running().await;
    ask_for_workers(&fake);
    fake.settle().await;
    let before = fake.api.get("secrets", "sales-tls").unwrap();
    fake.api.delete("deployments", "sales-workers");
    fake.settle().await;
    assert_eq!(has_workers(&fake), [true; 5]);
    assert_eq!(fake.api.get("secrets", "sales-tls").unwrap(), before);
}

#[tokio::test]
async fn workers_end_with_a_job_that_is_suspended_and_with_a_spec_that_has_none() {
    let fake = running().await;
    ask_for_workers(&fake);
    fake.settle().await;
    fake.api.change("streamjobs", JOB, json!({ "spec": { "state": "Suspended" } }));
    fake.settle().await;
    assert_eq!(fake.api.get("deployments", "sales-workers").unwrap()["spec"]["replicas"], 0);
    fake.api.change("streamjobs", JOB, json!({ "spec": { "state": "Running" } }));
    fake.settle().await;
    assert_eq!(fake.api.get("deployments", "sales-workers").unwrap()["spec"]["replicas"], 3);
    fake.api.change("streamjobs", JOB, json!({ "spec": { "workers": null } }));
    fake.settle().await;
    assert_eq!(has_workers(&fake), [true, false, false, false, false], "the certificates go with the StreamJob");
    one_runs(&fake);
}

/// What is done to a running job, and what must have come of it.
type Errand = (&'static str, fn(&Fake), fn(&Fake));

const ERRANDS: [Errand; 5] = [
    ("more pods", ask_for_workers, |fake| {
        one_runs(fake);
        assert_eq!(has_workers(fake), [true; 5]);
    }),
    ("creation", |_| {}, one_runs),
    ("a change", |fake| fake.api.change("streamjobs", JOB, json!({ "spec": { "parallelism": 2 } })), one_runs),
    (
        "a suspension",
        |fake| fake.api.change("streamjobs", JOB, json!({ "spec": { "state": "Suspended" } })),
        |fake| {
            assert_eq!((fake.jobs.running(), fake.api.list("pods").len()), (0, 0));
            assert_eq!(fake.job().unwrap().status.unwrap().phase, Some(JobPhase::Suspended));
        },
    ),
    (
        "a deletion",
        |fake| fake.api.delete("streamjobs", JOB),
        |fake| {
            assert!(fake.job().is_none());
            assert_eq!((fake.jobs.running(), job_files(fake).len(), fake.api.list("deployments").len()), (0, 0, 0));
        },
    ),
];

fn one_runs(fake: &Fake) {
    assert_eq!((fake.jobs.running(), fake.api.list("pods").len(), job_files(fake).len()), (1, 1, 1));
    let status = fake.job().unwrap().status.unwrap();
    assert_eq!((status.phase, status.restarts), (Some(JobPhase::Running), 0));
}

#[tokio::test]
async fn an_operator_killed_between_any_two_writes_is_followed_by_one_that_ends_the_errand() {
    for (what, begin, check) in ERRANDS {
        let mut deaths = 0;
        loop {
            let fake = if what == "creation" { Fake::with_job() } else { running().await };
            begin(&fake);
            fake.api.die_after(deaths);
            for _ in 0..20 {
                // It dies when it may write no more; what it says then is nobody's business.
                let _dead = fake.reconcile().await;
                fake.play();
            }
            let died = fake.api.revive();
            if fake.job().is_some() {
                fake.settle().await;
            }
            check(&fake);
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 1, "{what} takes more than one write");
    }
}
