//! A local disk that has no room for the tables of RocksDB, and then has, or on which somebody tidies up. No servers.

use std::{
    fs::{File, read_dir, remove_dir_all, remove_file},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use tempfile::TempDir;
use tidegate_crds::api::{FailureReason, JobStatus, Phase};
use tidegate_tests::{job::End, local::Local, skip::skip, world::PATIENCE};

const ORDERS: u64 = 300_000;

/// A disk of some MiB; it is taken away whatever comes.
struct Disk(TempDir);

impl Disk {
    /// None where this user may not have one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                skip(format_args!("no disk of its own: {}", String::from_utf8_lossy(&output.stderr).trim()));
                None
            }
            Err(error) => {
                skip(format_args!("no disk of its own: {error}"));
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that there is, and what the job gives back, until it is dropped.
    fn fill(&self) -> Filler {
        let path = self.path().join("filler");
        let mut file = File::create(&path).expect("a file");
        let mut take = move || {
            for size in [1 << 16, 1] {
                while file.write(&vec![1; size]).is_ok_and(|written| written > 0) {}
            }
        };
        take();
        let (stop, stopped) = channel();
        let takes = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                take();
            }
        });
        Filler { path, stop: Some(stop), takes: Some(takes) }
    }
}

/// A file that takes all the room.
struct Filler {
    path: PathBuf,
    stop: Option<Sender<()>>,
    takes: Option<JoinHandle<()>>,
}

impl Drop for Filler {
    fn drop(&mut self) {
        drop(self.stop.take());
        let stopped = self.takes.take().map(JoinHandle::join);
        let removed = remove_file(&self.path);
        if stopped.is_some_and(|stopped| stopped.is_err()) || removed.is_err() {
            eprintln!("failed to give {} back", self.path.display());
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("failed to unmount {}", self.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_tells_that_there_is_no_room_and_goes_on_when_there_is() {
    let Some(disk) = Disk::mount() else { return };
    let local = Local::new(ORDERS);
    // Three failures that no restart gets past would be its end.
    let restart = r#"{"fixedDelay": {"delay": "20ms", "attempts": 1000000}, "sameFailures": 3}"#;
    let mut job = local
        .sales_job()
        .paced(ORDERS)
        .set("spec.stateBackend", "RocksDB")
        .set("spec.checkpoint.interval", "100ms")
        .set("spec.restart", restart)
        .env("TIDEGATE_LOCAL_FOLDER", disk.path().join("state").display());
    let mut process = job.start();
    process.wait_for_epoch(2, PATIENCE).await;
    // It reads no further meanwhile.
    process.signal("STOP");
    let filler = disk.fill();
    process.signal("CONT");
    let is_told = |status: &JobStatus| {
        let failure = status.failure.as_ref();
        let is_full = failure.is_some_and(|failure| failure.reason == FailureReason::LocalDiskFailed);
        assert!(failure.is_none() || is_full, "{failure:?}");
        is_full && status.restarts > 3
    };
    let status = process.wait_for("no room", PATIENCE, is_told).await;
    let failure = status.failure.expect("a failure");
    assert!(failure.message.contains("No space left on device"), "{failure:?}");
    assert!(failure.message.contains(&disk.path().display().to_string()), "{failure:?}");

    drop(filler);
    assert_eq!(process.await_end(PATIENCE), End::Finished);
    assert!(!process.log().contains("no restart will get past it"), "{}", process.log());
    local.assert_sales();
}

/// As a cleaner of `/tmp` does. What a job in memory keeps elsewhere needs no such folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_folder_is_deleted_goes_on_from_its_checkpoint_with_a_new_one() {
    let (local, folder) = (Local::new(ORDERS), tempfile::tempdir().unwrap());
    let restart = r#"{"fixedDelay": {"delay": "20ms", "attempts": 1000000}}"#;
    let mut job = local
        .sales_job()
        .paced(ORDERS)
        .set("spec.stateBackend", "RocksDB")
        .set("spec.checkpoint.interval", "100ms")
        .set("spec.restart", restart)
        .env("TIDEGATE_LOCAL_FOLDER", folder.path().display());
    let mut process = job.start();
    process.wait_for_epoch(2, PATIENCE).await;
    for deletions in 1..=3 {
        let own = read_dir(folder.path()).unwrap().next().expect("the folder of the process").unwrap().path();
        // Files come while it is deleted.
        while own.exists() && remove_dir_all(&own).is_err() {}
        let has_failed = |status: &JobStatus| status.restarts >= deletions && status.phase == Phase::Running;
        let status = process.wait_for("another attempt", PATIENCE, has_failed).await;
        process.wait_for_epoch(status.committed_epoch.unwrap_or_default() + 2, PATIENCE).await;
    }
    assert_eq!(process.await_end(PATIENCE), End::Finished);
    assert!(process.log().contains("somebody has deleted the local folder"), "{}", process.log());
    assert_eq!(read_dir(folder.path()).unwrap().count(), 0, "it goes with the process");
    local.assert_sales();
}
