use serde_json::json;

use super::*;

fn pod(status: serde_json::Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "job-1" }, "status": status })).unwrap()
}

fn waiting(reason: &str, message: &str) -> Pod {
    let state = json!({ "waiting": { "reason": reason, "message": message } });
    let container = json!({ "name": "tidegate", "image": "example/tidegate:9", "imageID": "", "ready": false, "restartCount": 0, "state": state });
    pod(json!({ "phase": "Pending", "containerStatuses": [container] }))
}

fn crashed(exit_code: i32, reason: &str, message: &str) -> Pod {
    let ended = json!({ "terminated": { "exitCode": exit_code, "reason": reason, "message": message } });
    let container = json!({
        "name": "tidegate", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } }, "lastState": ended,
    });
    pod(json!({ "phase": "Running", "containerStatuses": [container] }))
}

#[test]
fn what_users_meet_is_named() {
    let unschedulable = pod(json!({ "phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient memory."
    }]}));
    let refused = r#"{"reason":"SinkUnfit","message":"spec.sinks[0]: there is no table `sales`"}"#;
    let cases = [
        (waiting("ImagePullBackOff", "not found"), Reason::IMAGE_ERROR, "image `example/tidegate:9`: not found", true),
        (
            waiting("CreateContainerConfigError", "secret \"s3\" not found"),
            Reason::SECRET_MISSING,
            "secret \"s3\" not found",
            true,
        ),
        (unschedulable, Reason::UNSCHEDULABLE, "0/2 nodes are available: 2 Insufficient memory.", true),
        (crashed(1, "Error", refused), Reason::SINK_UNFIT, "spec.sinks[0]: there is no table `sales`", false),
        (crashed(137, "OOMKilled", ""), Reason::OUT_OF_MEMORY, "the process used more memory than its limit", true),
        (crashed(139, "Error", ""), Reason::CRASHED, "the process ended with signal 11", true),
        (
            crashed(101, "Error", "line 1\nthread 'main' panicked"),
            Reason::CRASHED,
            "the process ended with exit code 101: thread 'main' panicked",
            true,
        ),
    ];
    for (pod, reason, message, may_pass) in cases {
        let expected = Trouble { reason, message: message.to_owned(), may_pass };
        assert_eq!(of(&pod), Some(expected));
    }
    assert_eq!(of(&waiting("ContainerCreating", "")), None);
}

#[test]
fn a_pod_that_was_given_up_with_its_node_is_lost_and_one_that_only_is_not_ready_is_not() {
    let with = |kind: &str, status: &str, reason: &str| {
        pod(json!({ "phase": "Running", "conditions": [{ "type": kind, "status": status, "reason": reason }] }))
    };
    assert!(is_lost(&with("DisruptionTarget", "True", "DeletionByTaintManager")));
    assert!(!is_lost(&with("DisruptionTarget", "True", "EvictionByEvictionAPI")));
    assert!(!is_lost(&with("Ready", "False", "ContainersNotReady")));
}

#[test]
fn a_process_that_tries_again_is_in_trouble_until_its_job_is_there() {
    let mut trying = crashed(137, "OOMKilled", "");
    let container = &mut trying.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
    container.state = serde_json::from_value(json!({ "running": {} })).unwrap();
    let before = of(&trying).map(|trouble| trouble.reason);
    trying.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0].ready = true;
    assert_eq!((before, of(&trying)), (Some(Reason::OUT_OF_MEMORY), None));
}

#[test]
fn a_deployment_that_gets_no_pod_says_why() {
    let refused =
        json!({ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota" });
    let deployment = serde_json::from_value(json!({ "metadata": {}, "status": { "conditions": [refused] } })).unwrap();
    let trouble = of_deployment(&deployment).unwrap();
    assert_eq!((trouble.reason, trouble.message.as_str()), (Reason::POD_REFUSED, "exceeded quota"));
}
