//! Broken documents, each with the words its author must get: the lines that begin with `# expect: `.

use std::{path::Path, process::Command};

use tidegate_tests::job::program;

use tidegate_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_document_is_refused_with_a_clear_word() {
    let world = World::shared().await;
    world
        .clickhouse
        .query("CREATE TABLE unfit (store_id Int64, amount Decimal(12, 2)) ENGINE = MergeTree ORDER BY store_id")
        .await
        .unwrap();
    let storage = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("broken");
    let mut documents: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.sort();
    assert!(documents.len() >= 10);
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let mut command = Command::new(program());
        command.arg("validate").arg(&document).env_remove("TIDEGATE_SECRET_CLICKHOUSE_PASSWORD");
        if text.contains("clickHouse:") {
            command
                .arg("--set")
                .arg(format!("spec.sinks[0].clickHouse.url={}", world.clickhouse.url()))
                .arg("--set")
                .arg(format!("spec.checkpoint.storage.local.path={}", storage.path().display()));
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{} is accepted", document.display());
        for expected in text.lines().filter_map(|line| line.strip_prefix("# expect: ")) {
            assert!(said.contains(expected), "{}: expected `{expected}` in:\n{said}", document.display());
        }
    }
}
