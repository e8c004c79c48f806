//! Manifests that are wrong, each refused by `kubectl apply` or explained by the status, so that it can be mended
//! without a look into the documentation.

use tidegate_tests::platform::{JobName, Platform};

use super::platform;

/// Refused by the API server: the field set, and what the answer must have.
const BY_APPLY: [(&str, &str, &[&str]); 13] = [
    ("spec.paralelism", "2", &["unknown field", "spec.paralelism"]),
    ("spec.parallelism", "200", &["spec.parallelism", "accepted is a parallelism from 1 to maxParallelism"]),
    ("spec.sources[0].files", "{ path: /data/* }", &["spec.sources[0]", "exactly one of kafka, files, generator"]),
    ("spec.sources[0].watermark.column", "time", &["spec.sources[0].watermark", "must be one of the schema"]),
    ("spec.sources[0].format", "{ badRecords: DeadLetter }", &["spec.sources[0].format", "deadLetterSink go together"]),
    ("spec.sources[0].schema[0].type", "biginteger", &["spec.sources[0].schema[0].type", "string|boolean|int|bigint"]),
    ("spec.sinks[1].name", "store_sales", &["spec.sinks[1]", "Duplicate value"]),
    (
        "spec.sinks[0]",
        "{ name: store_sales, files: { path: /data/sales } }",
        &["spec.sinks[0].files", "a pod's disk is lost with the pod"],
    ),
    ("spec.sinks[0].delivery", "AtLeastOnce", &["spec.sinks[0].delivery", "ExactlyOnce or Idempotent"]),
    (
        "spec.checkpoint",
        "{ mode: AtLeastOnce, alignmentTimeout: 5s, storage: { s3: { bucket: checkpoints } } }",
        &["spec.checkpoint", "alignmentTimeout needs mode ExactlyOnce"],
    ),
    (
        "spec.checkpoint",
        "{ maxConcurrent: 3, alignmentTimeout: 5s, storage: { s3: { bucket: checkpoints } } }",
        &["spec.checkpoint", "alignmentTimeout and maxConcurrent above 1 exclude each other"],
    ),
    ("spec.checkpoint.interval", "\"5\"", &["spec.checkpoint.interval", "should match"]),
    (
        "spec.checkpoint.storage",
        "{ local: { path: /data } }",
        &["spec.checkpoint.storage", "a pod's disk is lost with the pod"],
    ),
];

/// Accepted, and explained by the condition `Ready`: the field set, the reason, and what the message must have.
const BY_STATUS: [(&str, &str, &str, &[&str]); 7] = [
    ("spec.sql", "INSERT INTO store_sales SELECT * FROM ordes", "DocumentInvalid", &["ordes", "orders"]),
    // Which the definition can't tell from a good one.
    ("spec.sources[0].schema[2].type", "decimal(2,30)", "SpecInvalid", &["decimal(2,30)", "is not a decimal type"]),
    ("spec.sources[0].kafka.topic", "no-such-topic", "SourceUnfit", &["no-such-topic"]),
    ("spec.sources[0].kafka.bootstrapServers", "kafka-typo:9092", "SourceUnreachable", &["kafka-typo:9092"]),
    ("spec.sinks[0].clickHouse.table", "no_such_table", "SinkUnfit", &["no_such_table", "create it first"]),
    ("spec.checkpoint.storage.s3.bucket", "no-such-bucket", "StorageUnfit", &["no-such-bucket"]),
    ("spec.checkpoint.storage.s3.accessKeyId.secretKeyRef.name", "s3-typo", "SecretMissing", &["s3-typo"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_manifests_say_what_is_wrong() {
    let Some(platform) = platform().await else { return };
    platform.namespace("refusals").await;
    let run = platform.world.empty_run("refusals").await;
    let job = JobName { namespace: "refusals", name: "store-sales" };
    let good: serde_json::Value = serde_json::from_str(&platform.manifest(&run, &job, &[])).unwrap();
    for (path, value, said) in BY_APPLY {
        let broken = set(&good, path, value);
        let answer = platform.cluster.apply(&broken.to_string()).await.unwrap_err().to_string();
        for part in said {
            assert!(answer.contains(part), "{path}: {value}\nmissing `{part}` in: {answer}");
        }
    }
    for (index, (path, value, reason, said)) in BY_STATUS.into_iter().enumerate() {
        explained(&platform, &good, index, path, value, reason, said).await;
    }
    let unschedulable = ("spec.template", "{ nodeSelector: { disk: fast } }", "Unschedulable");
    let image = ("spec.image", "localhost/no-such-image:1", "ImageError");
    for (index, (path, value, reason)) in [unschedulable, image].into_iter().enumerate() {
        explained(&platform, &good, 10 + index, path, value, reason, &[]).await;
    }
    platform.kubectl(&["delete", "namespace", "refusals", "--timeout=180s"]).await;
}

async fn explained(
    platform: &Platform,
    good: &serde_json::Value,
    index: usize,
    path: &str,
    value: &str,
    reason: &str,
    said: &[&str],
) {
    let mut broken = set(good, path, value);
    let name: &'static str = Box::leak(format!("broken-{index}").into_boxed_str());
    broken["metadata"]["name"] = name.into();
    platform.cluster.apply(&broken.to_string()).await.unwrap();
    let job = JobName { namespace: "refusals", name };
    let status = platform
        .wait(&job, &format!("{path}: {value} is explained as {reason}"), |status| {
            status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.reason == reason)
        })
        .await;
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    println!("{path}: {value}\n    {reason}: {}", ready.message);
    for part in said {
        assert!(ready.message.contains(part), "{path}: {value}\nmissing `{part}` in: {}", ready.message);
    }
    platform.kubectl(&["delete", "streamjob", name, "--namespace", "refusals", "--timeout=120s"]).await;
}

/// The document with one field set, whatever its types say.
fn set(document: &serde_json::Value, path: &str, value: &str) -> serde_json::Value {
    let mut document = document.clone();
    let mut here = &mut document;
    for step in path.replace('[', ".").replace(']', "").split('.') {
        here = match step.parse::<usize>() {
            Ok(index) => &mut here[index],
            Err(_) => &mut here[step],
        };
    }
    *here = serde_yaml::from_str(value).unwrap();
    document
}
