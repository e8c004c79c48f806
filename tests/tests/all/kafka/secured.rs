//! A job whose broker wants TLS and a password.

use std::time::Duration;

use tidegate_tests::{
    counterparts::Kafka,
    job::{End, Job},
    oracle::{Workload, assert_same, kafka_rows, reference_with_duplicates},
};

const PATIENCE: Duration = Duration::from_mins(2);

const JOB: &str = "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: { name: secured }
spec:
  sources:
    - name: orders
      kafka: { bootstrapServers: '', topic: orders, until: Latest, security: &security {
        protocol: SASL_SSL, saslMechanism: PLAIN, username: { secretKeyRef: { name: kafka, key: username } },
        password: { secretKeyRef: { name: kafka, key: password } }, ca: { secretKeyRef: { name: kafka, key: ca } } } }
      schema:
        - { name: store_id, type: bigint, nullable: false }
        - { name: amount, type: 'decimal(12,2)', nullable: false }
        - { name: ts, type: timestamp(3), nullable: false }
      watermark: { column: ts, delay: 5s }
  sql: |
    INSERT INTO sales SELECT window_start, store_id, SUM(amount) AS total, COUNT(*) AS orders
    FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end, store_id;
  sinks: [{ name: sales, kafka: { bootstrapServers: '', topic: sales, security: *security } }]
  checkpoint: { interval: 200ms, storage: { local: { path: '' } } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_reads_and_writes_by_tls_and_password_and_names_what_is_wrong_with_them() {
    let kafka = Kafka::start_secured().await.unwrap();
    let secured = kafka.secured().unwrap();
    for topic in ["orders", "sales"] {
        Workload::create_topic(kafka.bootstrap(), topic, 2).await;
    }
    let workload = Workload::new(41, 100_000);
    workload.produce(kafka.bootstrap(), "orders", 2);

    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("job.yaml");
    std::fs::write(&document, JOB).unwrap();
    let job = |password: &str, ca: &str| {
        Job::of(&document)
            .set("spec.sources[0].kafka.bootstrapServers", secured.address())
            .set("spec.sinks[0].kafka.bootstrapServers", secured.address())
            .set("spec.checkpoint.storage.local.path", folder.path().join("checkpoints").display())
            .env("TIDEGATE_SECRET_KAFKA_USERNAME", secured.username)
            .env("TIDEGATE_SECRET_KAFKA_PASSWORD", password)
            .env("TIDEGATE_SECRET_KAFKA_CA", ca)
    };
    let End::Failed(wrong) = job("wrong-horse", &secured.ca).start().wait(PATIENCE) else { panic!("it got in") };
    assert!(wrong.contains("Authentication failed") && !wrong.contains("wrong-horse"), "{wrong}");

    job(secured.password, &secured.ca).finish(PATIENCE);
    let bootstrap = kafka.bootstrap().to_owned();
    let found = tokio::task::spawn_blocking(move || kafka_rows(&bootstrap, "sales")).await.unwrap();
    assert_same("Kafka", &found, &reference_with_duplicates(&workload));
}
