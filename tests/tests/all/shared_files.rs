//! Four subtasks of one process, whose small files go together: exact after kills, restored piece by piece, and verified. No
//! servers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tidegate_tests::{
    job::{End, Job, program},
    local::Local,
    world::PATIENCE,
};

const ORDERS: u64 = 900_000;
const SUBTASKS: u64 = 4;

fn shared(job: Job) -> Job {
    job.set("spec.parallelism", SUBTASKS).set("spec.checkpoint.interval", "200ms").paced(ORDERS)
}

/// The one job's folder.
fn storage(local: &Local) -> PathBuf {
    let mut jobs = fs::read_dir(local.checkpoints()).unwrap().map(|entry| entry.unwrap().path());
    jobs.next().expect("a job")
}

/// Whether `tidegate inspect` goes well with these arguments, and what it says.
fn inspect(arguments: &[&str]) -> (bool, String) {
    let inspected = Command::new(program()).arg("inspect").args(arguments).output().unwrap();
    let said = [inspected.stdout, inspected.stderr].concat();
    (inspected.status.success(), String::from_utf8(said).unwrap())
}

fn assert_whole(path: &Path) {
    let (is_whole, said) = inspect(&["--verify", &path.to_string_lossy()]);
    assert!(is_whole, "{said}");
}

/// A piece that does not begin its file: where it is, and how long it is.
fn a_piece(storage: &Path) -> (PathBuf, u64, u64) {
    let sql = "SELECT path, begins, bytes FROM files WHERE begins > 0 ORDER BY bytes DESC LIMIT 1";
    let (is_answered, said) = inspect(&[&storage.to_string_lossy(), "--format", "json", "--sql", sql]);
    assert!(is_answered, "{said}");
    let piece: serde_json::Value =
        said.lines().find(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).unwrap();
    (storage.join(piece["path"].as_str().unwrap()), piece["begins"].as_u64().unwrap(), piece["bytes"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_four_subtasks_share_a_damaged_piece_is_found() {
    let local = Local::new(ORDERS);
    let mut job = shared(local.sales_job()).set("spec.checkpoint.retained", 20);
    let mut process = job.start();
    process.wait_for_epoch(8, PATIENCE).await;
    assert_eq!(process.kill_9(), End::Killed);

    let storage = storage(&local);
    // How many objects a checkpoint is depends on the machine: on a slow one fewer pieces meet (`checkpoint/pack/tests.rs`).
    assert_whole(&storage);
    let (path, begins, length) = a_piece(&storage);
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[(begins + length / 2) as usize] ^= 1;
    fs::write(&path, damaged).unwrap();
    let (is_whole, said) = inspect(&["--verify", &storage.to_string_lossy()]);
    assert!(!is_whole && said.contains(&format!(", from byte {begins} on, named by epoch")), "{said}");
    assert_eq!(said.matches("its bytes are not the ones that were written").count(), 1, "{said}");
    fs::write(&path, whole).unwrap();
    assert_whole(&storage);
    job.finish(PATIENCE);
    local.assert_sales();
}

/// Kills the job at each of `faults` in turn, then lets it finish.
fn exact_after(faults: &[(&str, u64)]) {
    let local = Local::new(ORDERS);
    let mut job = shared(local.sales_job()).set("spec.checkpoint.retained", 1);
    job.kill_at_each(faults, PATIENCE);
    assert_whole(&storage(&local));
    shared(local.sales_job()).finish(PATIENCE);
    local.assert_sales();
}

#[test]
fn killed_when_a_shared_file_is_written_and_nobody_knows_it() {
    exact_after(&[("shared-file-uploaded", 1), ("shared-file-uploaded", 4), ("shared-file-uploaded", 9)]);
}

#[test]
fn killed_when_shared_files_are_named_published_and_collected() {
    exact_after(&[("after-state-upload", 18), ("after-own", 3), ("before-epoch-committed", 2), ("collecting", 4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_of_shared_files_needs_none_of_them_and_restores() {
    let local = Local::new(ORDERS);
    let mut process = shared(local.sales_job()).start();
    process.wait_for_epoch(4, PATIENCE).await;
    let stop = r#"{"purpose": "Suspend", "savepoint": "move"}"#;
    assert_eq!(process.ask_to_stop(stop, PATIENCE).await.0, 202);
    assert_eq!(process.wait(PATIENCE), End::Finished);
    let storage = storage(&local);
    let savepoint = storage.join("savepoints/move");
    fs::remove_dir_all(storage.join("data")).unwrap();
    assert_whole(&savepoint);
    let text = fs::read_to_string(savepoint.join("savepoint.json")).unwrap();
    assert!(!text.contains("\"offset\""), "{text}");

    let from = format!("{{ path: '{}', mode: NoClaim }}", savepoint.display());
    let mut job = shared(local.sales_job())
        .set("spec.jobId", "moved")
        .set("spec.parallelism", SUBTASKS - 1)
        .set("spec.restoreFrom", from);
    let mut killed = job.start_with_fault("shared-file-uploaded", 3);
    assert_eq!(killed.await_end(PATIENCE), End::Killed);
    job.finish(PATIENCE);
    local.assert_sales();
}
