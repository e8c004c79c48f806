use serde_json::json;

use super::*;

fn pod(status: serde_json::Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "job-1" }, "status": status })).unwrap()
}

fn waiting(reason: &str, message: &str) -> Pod {
    let state = json!({ "waiting": { "reason": reason, "message": message } });
    let container =
        json!({ "name": "tidegate", "image": "example/tidegate:9", "imageID": "", "ready": false, "restartCount": 0, "state": state });
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
        (waiting("CreateContainerConfigError", "secret \"s3\" not found"), Reason::SECRET_MISSING, "secret \"s3\" not found", true),
        (unschedulable, Reason::UNSCHEDULABLE, "0/2 nodes are available: 2 Insufficient memory.", true),
        (crashed(1, "Error", refused), Reason::SINK_UNFIT, "spec.sinks[0]: there is no table `sales`", false),
        (crashed(137, "OOMKilled", ""), Reason::OUT_OF_MEMORY, "the process used more memory than its limit", true),
        (crashed(139, "Error", ""), Reason::CRASHED, "the process ended with signal 11", true),
        (crashed(101, "Error", "line 1\nthread 'main' panicked"), Reason::CRASHED, "the process ended with exit code 101: thread 'main' panicked", true),
    ];
    for (pod, reason, message, may_pass) in cases {
        let expected = Trouble { reason, message: message.to_owned(), may_pass };
        assert_eq!(of(&pod), Some(expected));
    }
    assert_eq!(of(&waiting("ContainerCreating", "")), None);
}

#[test]
fn a_pod_whose_node_is_gone_is_lost_and_one_that_only_is_not_ready_is_not() {
    let condition = |reason: &str| json!({ "type": "Ready", "status": "False", "reason": reason });
    let mut gone = pod(json!({ "phase": "Running", "conditions": [condition("NodeNotReady")] }));
    assert!(!is_lost(&gone), "it may come back before it is given up");
    gone.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert!(is_lost(&gone));
    assert!(!is_lost(&pod(json!({ "phase": "Running", "conditions": [condition("ContainersNotReady")] }))));
}
