//! `tidegate` as a program among others.

use std::{io::pipe, process::Command};

use tidegate_tests::job::program;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/store-sales-local.yaml");

#[test]
fn that_nobody_reads_on_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let storage = format!("spec.checkpoint.storage.local.path={}", folder.path().join("checkpoints").display());
    let files = format!("spec.sinks[0].files.path={}", folder.path().join("files").display());
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let arguments = ["validate", EXAMPLE, "--set", &storage, "--set", &files];
    let validated = Command::new(program()).args(arguments).stdout(writer).output().unwrap();
    let said = String::from_utf8(validated.stderr).unwrap();
    assert!(validated.status.success() && said.is_empty(), "{said}");
}
