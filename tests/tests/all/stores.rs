//! Stores that earlier builds left are gone on with, to exact rows. See `tests/stores/README.md`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tidegate_tests::{
    job::Job,
    local::lines,
    oracle::{Rows, assert_same},
    world::PATIENCE,
};

fn stores() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stores")
}

/// The job, with its folders below `folder`.
fn job(folder: &Path) -> Job {
    Job::of(stores().join("job.yaml"))
        .set("spec.sinks[0].files.path", folder.join("output").display())
        .set("spec.sinks[1].files.path", folder.join("output").display())
        .set("spec.checkpoint.storage.local.path", folder.join("checkpoints").display())
        .set("spec.sources[0].generator.rate", "null")
        .env("TIDEGATE_LOCAL_FOLDER", folder.join("local").display())
}

/// What a run puts out that begins anew.
fn expected() -> Rows {
    let folder = tempfile::tempdir().unwrap();
    job(folder.path()).finish(PATIENCE);
    lines(&folder.path().join("output"))
}

#[test]
fn stores_of_every_format_are_gone_on_with_to_exact_rows() {
    let expected = expected();
    assert_eq!(expected.len(), 610, "600 orders, and sums of five stores on two days");
    let mut archives: Vec<PathBuf> = std::fs::read_dir(stores()).unwrap().map(|entry| entry.unwrap().path()).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    archives.sort();
    for format in 1..=4 {
        let of_format = archives.iter().filter(|path| name(path).starts_with(&format!("{format}-"))).count();
        assert!(of_format >= 2, "only {of_format} stores of format {format}");
    }
    for archive in archives {
        let folder = tempfile::tempdir().unwrap();
        let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder.path()).status().unwrap();
        assert!(unpacked.success(), "{}", archive.display());
        job(folder.path()).finish(PATIENCE);
        assert_same(&name(&archive), &lines(&folder.path().join("output")), &expected);
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
