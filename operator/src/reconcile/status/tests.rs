use tidegate_crds::api::{CheckpointStatus, CheckpointTimes, Failure, FailureReason, SinkStatus, SourceStatus};

use super::{
    super::facts::{Rollout, WorkerFact},
    *,
};
use crate::fake::says;

const NOW: u64 = 1_000_000;

fn identity() -> Identity {
    Identity {
        generation: Some(4),
        job_id: "shop.sales".into(),
        selector: "tidegate.dev/job=sales".into(),
        parallelism: 2,
    }
}

fn job(phase: Phase, revision: u64, attempt: u64) -> JobStatus {
    says(phase, revision, Some(attempt))
}

fn facts(jobs: Vec<JobStatus>) -> Facts {
    let pods = jobs.into_iter().map(|job| PodFact {
        name: format!("p{}", job.revision),
        revision: job.revision,
        job: Some(job),
        ..PodFact::default()
    });
    Facts {
        now: NOW,
        has_finalizer: true,
        digest: "a".into(),
        rollout: Some(Rollout { revision: 7, digest: "a".into(), replicas: 1 }),
        pods: pods.collect(),
        ..Facts::default()
    }
}

fn verdict<'a>(status: &'a StreamJobStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (&condition.status, &condition.reason, &condition.message)
}

fn rest(facts: &Facts) -> StreamJobStatus {
    derive(&StreamJobStatus::default(), &identity(), facts, &Decision::Rest)
}

#[test]
fn a_job_that_runs_is_ready_and_shows_what_it_says() {
    let checkpoint = CheckpointStatus {
        longest: CheckpointTimes::default(),
        unaligned: None,
        epoch: 12,
        started_at_ms: 999_000_000,
        duration_ms: 500,
        bytes: 77,
        full_bytes: 78,
        rows: 1,
        manifest: Some("data/1/12/manifest.json".into()),
        failure: None,
    };
    let sources = [3, 4].map(|lag| SourceStatus { name: "orders".into(), lag }).to_vec();
    let job = JobStatus {
        last_checkpoint: Some(checkpoint),
        committed_epoch: Some(11),
        sources,
        ..job(Phase::Running, 7, 3)
    };
    let status = rest(&facts(vec![job]));
    assert_eq!(verdict(&status, "Ready"), ("True", "Running", "the job runs"));
    assert_eq!(verdict(&status, "Reconciling").0, "False");
    assert_eq!((status.phase, status.lag, status.committed_epoch), (Some(JobPhase::Running), Some(7), Some(11)));
    assert_eq!((status.revision, status.attempt, status.parallelism), (Some(7), Some(3), 2));
    let last = status.last_checkpoint.unwrap();
    assert_eq!((last.epoch, last.completed_at.0.as_second(), last.bytes), (12, 999_000, 77));
}

#[test]
fn a_version_that_is_refused_blocks_the_upgrade_and_the_one_before_goes_on() {
    let mut facts = facts(vec![job(Phase::Running, 6, 3)]);
    let trouble = Trouble { reason: Reason::DOCUMENT_INVALID, message: "line 1: no table `x`".into(), may_pass: false };
    facts.pods.push(PodFact { name: "p7".into(), revision: 7, trouble: Some(trouble), ..PodFact::default() });
    let status = rest(&facts);
    assert_eq!(status.phase, Some(JobPhase::UpgradeBlocked));
    assert_eq!(
        verdict(&status, "UpgradeBlocked"),
        ("True", "NewRevisionRefused", "DocumentInvalid: line 1: no table `x`")
    );
    assert_eq!(verdict(&status, "Ready"), ("False", "DocumentInvalid", "line 1: no table `x`"));
    assert_eq!((verdict(&status, "Stalled").0, verdict(&status, "SinkHealthy").0), ("True", "True"));
}

#[test]
fn a_system_that_does_not_answer_is_named_while_the_pod_waits_for_it() {
    let failure = Failure { reason: FailureReason::StorageUnreachable, message: "http://s3:9000: refused".into() };
    let waits = JobStatus { failure: Some(failure), attempt: None, ..job(Phase::Preparing, 7, 0) };
    let status = rest(&facts(vec![waits]));
    assert_eq!(status.phase, Some(JobPhase::Starting));
    assert_eq!(verdict(&status, "Ready"), ("False", "StorageUnreachable", "http://s3:9000: refused"));
    assert_eq!((verdict(&status, "Stalled").0, verdict(&status, "Reconciling").0), ("False", "True"));
}

#[test]
fn slots_that_are_missing_are_told_with_the_reason_why_their_worker_does_not_run() {
    let failure = Failure { reason: FailureReason::SlotsMissing, message: "found 2 slots, and 3 are needed".into() };
    let waits = JobStatus { failure: Some(failure), attempt: None, ..job(Phase::Restarting, 7, 0) };
    let refused = Trouble { reason: Reason::IMAGE_ERROR, message: "image `x`: no such image".into(), may_pass: true };
    let worker = |revision| WorkerFact { name: "sales-workers-1".into(), revision, trouble: refused.clone() };
    let said = |workers: Vec<WorkerFact>, no_workers: Option<Trouble>| {
        let facts = Facts { workers, no_workers, ..facts(vec![waits.clone()]) };
        let status = rest(&facts);
        let (ready, reason, message) = verdict(&status, "Ready");
        assert_eq!(ready, "False");
        (reason.to_owned(), message.to_owned(), verdict(&status, "Stalled").0 == "True")
    };
    let alone = ("SlotsMissing".to_owned(), "found 2 slots, and 3 are needed".to_owned(), false);
    assert_eq!(said(Vec::new(), None), alone);
    assert_eq!(said(vec![worker(6)], None), alone, "a worker of the version before is not waited for");
    let told =
        "found 2 slots, and 3 are needed, because worker `sales-workers-1` does not run: image `x`: no such image";
    assert_eq!(said(vec![worker(7)], None), ("ImageError".to_owned(), told.to_owned(), true));
    let quota = Trouble { reason: Reason::POD_REFUSED, message: "exceeded quota".into(), may_pass: true };
    let told = "found 2 slots, and 3 are needed, because the next worker does not run: exceeded quota";
    assert_eq!(said(Vec::new(), Some(quota)), ("PodRefused".to_owned(), told.to_owned(), true));
}

#[test]
fn restarts_count_what_nobody_asked_for() {
    let told = Failure { reason: FailureReason::TaskFailed, message: "boom".into() };
    let before = StreamJobStatus {
        attempt: Some(3),
        revision: Some(7),
        restarts: 2,
        phase: Some(JobPhase::Running),
        ..StreamJobStatus::default()
    };
    let failed = JobStatus { failure: Some(told.clone()), ..job(Phase::Running, 7, 5) };
    let status = derive(&before, &identity(), &facts(vec![failed]), &Decision::Rest);
    assert_eq!((status.restarts, status.failure), (4, Some(told)), "two attempts more, of the same revision");

    let upgraded = StreamJobStatus { revision: Some(6), ..before.clone() };
    let status = derive(&upgraded, &identity(), &facts(vec![job(Phase::Running, 7, 4)]), &Decision::Rest);
    assert_eq!(status.restarts, 2, "a new revision is a new attempt");

    let suspended = StreamJobStatus { phase: Some(JobPhase::Suspended), ..before };
    let status = derive(&suspended, &identity(), &facts(vec![job(Phase::Running, 7, 4)]), &Decision::Rest);
    assert_eq!(status.restarts, 2, "a resume is a new attempt");
}

#[test]
fn a_sink_that_fails_and_a_checkpoint_that_fails_have_conditions_of_their_own() {
    let sinks = vec![SinkStatus { name: "sales".into(), failures: 3, failure: Some("refused".into()) }];
    let job = JobStatus { sinks, checkpoint_failure: Some("s3: 503".into()), ..job(Phase::Running, 7, 3) };
    let status = rest(&facts(vec![job]));
    assert_eq!(verdict(&status, "SinkHealthy"), ("False", "SinkFailing", "sink `sales`: refused"));
    assert_eq!(verdict(&status, "CheckpointHealthy"), ("False", "CheckpointsFailing", "s3: 503"));
    assert_eq!(verdict(&status, "Ready").0, "True");
}

#[test]
fn phases_follow_from_what_is_there() {
    let suspended = |replicas: i32, jobs: Vec<JobStatus>| Facts {
        state: RunState::Suspended,
        rollout: Some(Rollout { revision: 7, digest: "a".into(), replicas }),
        ..facts(jobs)
    };
    for (what, facts, phase) in [
        ("no pod yet", facts(Vec::new()), JobPhase::Pending),
        ("it claims", facts(vec![JobStatus { attempt: None, ..job(Phase::Claiming, 7, 0) }]), JobPhase::Starting),
        ("it recovers", facts(vec![job(Phase::Recovering, 7, 1)]), JobPhase::Starting),
        ("the old one runs", facts(vec![job(Phase::Running, 6, 1), job(Phase::Claiming, 7, 1)]), JobPhase::Upgrading),
        ("all is read", facts(vec![job(Phase::Finished, 7, 1)]), JobPhase::Finished),
        ("it stops", suspended(1, vec![job(Phase::Stopping, 7, 1)]), JobPhase::Suspending),
        ("its pod goes", suspended(0, vec![job(Phase::Stopped, 7, 1)]), JobPhase::Suspending),
        ("its pod is gone", suspended(0, Vec::new()), JobPhase::Suspended),
        ("it is deleted", Facts { deleted_at: Some(NOW), ..facts(Vec::new()) }, JobPhase::Terminating),
    ] {
        assert_eq!(rest(&facts).phase, Some(phase), "{what}");
    }
}

#[test]
fn progress_is_written_now_and_then_and_everything_else_at_once() {
    let at = |seconds: i64, epoch: u64| LastCheckpoint {
        epoch,
        completed_at: Time(Timestamp::from_second(seconds).unwrap()),
        duration_ms: 1,
        bytes: 1,
        location: String::new(),
    };
    let phase = Some(JobPhase::Running);
    let before = StreamJobStatus { phase, last_checkpoint: Some(at(100, 1)), ..StreamJobStatus::default() };
    let after = |seconds| StreamJobStatus { last_checkpoint: Some(at(seconds, 9)), lag: Some(5), ..before.clone() };
    assert!(!is_news(&before, &before, 30));
    assert!(!is_news(&before, &after(129), 30));
    assert!(is_news(&before, &after(130), 30));
    assert!(is_news(&before, &StreamJobStatus { restarts: 1, ..before.clone() }, 30));
    assert!(is_news(&StreamJobStatus::default(), &before, 30), "the first checkpoint");
    let ends = |status: &StreamJobStatus| StreamJobStatus { phase: Some(JobPhase::Suspending), ..status.clone() };
    assert!(is_news(&ends(&before), &ends(&after(101)), 30), "the last checkpoint");
}

#[test]
fn a_job_whose_restart_strategy_has_given_up_is_stalled_and_says_why() {
    let told = "the job has failed, and the restart strategy has given up: failed 10 times in a row at the same place";
    let failure = Failure { reason: FailureReason::RestartsExhausted, message: told.into() };
    // Its process still answers, or has ended with this as its last word.
    let said = JobStatus { failure: Some(failure.clone()), failures_in_row: 10, ..job(Phase::Failed, 7, 3) };
    let answers = facts(vec![said]);
    let last_word = serde_json::to_string(&failure).unwrap();
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(serde_json::json!({ "status": {
        "phase": "Running",
        "containerStatuses": [{
            "name": "tidegate", "image": "tidegate", "imageID": "", "ready": false, "restartCount": 4,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 1, "message": last_word } },
        }],
    }}))
    .unwrap();
    let mut ended = facts(Vec::new());
    let trouble = crate::reconcile::trouble::of(&pod);
    ended.pods.push(PodFact { name: "p7".into(), revision: 7, trouble, ..PodFact::default() });
    for facts in [answers, ended] {
        let status = rest(&facts);
        assert_eq!(status.phase, Some(JobPhase::Failed));
        assert_eq!(verdict(&status, "Ready"), ("False", "RestartsExhausted", told));
        assert_eq!(verdict(&status, "Stalled"), ("True", "RestartsExhausted", told));
        assert_eq!((verdict(&status, "Reconciling").0, verdict(&status, "UpgradeBlocked").0), ("False", "False"));
    }
}
