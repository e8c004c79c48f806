//! Named places in the durable paths, where a test may kill the process; subtasks that fail, slow operators, and slow
//! uploads.
//!
//! Compiled in with the feature `fault-points` only; a release does nothing here. A test sets `TIDEGATE_FAULT` to
//! `<place>@<n>`, and the process is killed, as by `kill -9`, when it reaches the place for the n-th time. With
//! `TIDEGATE_LABOUR_MS` every batch keeps a task that reads from an exchange busy for so long, so that channels fill. With
//! `TIDEGATE_STRIKE`, `<subtask>@<file>` (such as `orders[1]@/tmp/strike`), the subtask of that name fails once in the
//! process, when it runs and the file is there. With `TIDEGATE_EPOCH_RECORDS` the sources of a process read no more than about so many
//! records between two barriers, so that a job of so many records has so many epochs, on a fast machine as on a slow one.
//! With `TIDEGATE_UPLOAD_MS` the upload of each share of a checkpoint begins after up to so
//! long, so that checkpoints overlap.
//!
//! In a simulation its world decides on all of it, by seed, and not the environment of the process.

/// The places, for tests that go through all of them.
pub const PLACES: &[&str] = &[
    "before-state-upload",
    "after-state-upload",
    "rows-in-flight-uploaded",
    "chunk-written-ahead",
    "shared-file-uploaded",
    "before-manifest",
    "after-manifest",
    "before-own",
    "after-own",
    "before-publish",
    "kafka-transaction-open",
    "kafka-transaction-committed",
    "clickhouse-between-inserts",
    "files-between-chunks",
    "files-before-link",
    "before-epoch-committed",
    "after-epoch-committed",
    "recovery-claimed",
    "before-starts",
    "after-starts",
    "recovery-settling",
    "recovery-settled",
    "state-copied",
    "before-savepoint",
    "after-savepoint",
    "savepoint-deleted",
    "collecting",
    "before-deleted",
    "after-deleted",
    "job-deleted",
];

#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn reach(_place: &'static str) {}

#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn labour() -> std::future::Ready<()> {
    std::future::ready(())
}

#[cfg(not(feature = "fault-points"))]
#[inline]
pub async fn strike(_subtask: &str) {
    std::future::pending::<()>().await;
}

#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn upload() -> std::future::Ready<()> {
    std::future::ready(())
}

#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn may_read(_since_barrier: u64) -> bool {
    true
}

#[cfg(feature = "fault-points")]
pub use armed::{labour, may_read, reach, strike, upload};

#[cfg(feature = "fault-points")]
mod armed {
    use std::{
        path::PathBuf,
        process::{Command, id},
        sync::{
            LazyLock,
            atomic::{AtomicBool, AtomicU64, Ordering},
        },
        time::Duration,
    };

    static LABOUR: LazyLock<Option<Duration>> = LazyLock::new(|| millis("TIDEGATE_LABOUR_MS"));
    static UPLOAD: LazyLock<Option<Duration>> = LazyLock::new(|| millis("TIDEGATE_UPLOAD_MS"));

    fn millis(name: &str) -> Option<Duration> {
        std::env::var(name).ok()?.parse().ok().map(Duration::from_millis)
    }

    /// The upload of a share of a checkpoint begins: it takes as long as a test wants that to take.
    pub async fn upload() {
        if let Some(longest) = *UPLOAD {
            crate::env::sleep(longest.mul_f64((crate::env::random() % 1000) as f64 / 1000.0)).await;
        }
    }

    /// A batch has been worked off: takes as long as a test wants that to take.
    pub async fn labour() {
        #[cfg(any(test, feature = "test-util"))]
        if let Some(labour) = crate::simulation::ask(|doors| doors.labour()) {
            if !labour.is_zero() {
                crate::env::sleep(labour).await;
            }
            return;
        }
        if let Some(labour) = *LABOUR {
            crate::env::sleep(labour).await;
        }
    }

    static STRIKE: LazyLock<Option<(String, PathBuf)>> = LazyLock::new(|| {
        let setting = std::env::var("TIDEGATE_STRIKE").ok()?;
        let (subtask, file) = setting.split_once('@')?;
        Some((subtask.to_owned(), file.into()))
    });
    static STRUCK: AtomicBool = AtomicBool::new(false);

    /// Returns when the subtask is to fail.
    pub async fn strike(subtask: &str) {
        #[cfg(any(test, feature = "test-util"))]
        if let Some(strike) = crate::simulation::ask(|doors| doors.strike(subtask)) {
            return strike.await;
        }
        if let Some((_, file)) = STRIKE.as_ref().filter(|(wanted, _)| wanted == subtask) {
            while !file.exists() {
                crate::env::sleep(Duration::from_millis(10)).await;
            }
            if !STRUCK.swap(true, Ordering::SeqCst) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    static EPOCH_RECORDS: LazyLock<u64> = LazyLock::new(|| {
        let setting = std::env::var("TIDEGATE_EPOCH_RECORDS").ok();
        setting.and_then(|records| records.parse().ok()).unwrap_or(u64::MAX)
    });

    /// Whether a source that has read so many records since the last barrier may read on before the next.
    pub fn may_read(since_barrier: u64) -> bool {
        since_barrier < *EPOCH_RECORDS
    }

    static ARMED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let setting = std::env::var("TIDEGATE_FAULT").ok()?;
        let (place, nth) = setting.split_once('@').unwrap_or((&setting, "1"));
        Some((place.to_owned(), nth.parse().unwrap_or(1)))
    });
    static REACHED: AtomicU64 = AtomicU64::new(0);

    /// Kills the process if `TIDEGATE_FAULT` says so, or the world of a simulation.
    pub fn reach(place: &'static str) {
        debug_assert!(super::PLACES.contains(&place), "fault point `{place}` is not listed");
        #[cfg(any(test, feature = "test-util"))]
        if crate::simulation::ask(|doors| doors.reach(place)).is_some() {
            return;
        }
        let Some((armed, nth)) = &*ARMED else { return };
        if armed == place && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
            eprintln!("fault point `{place}` reached for the {nth}. time: killing the process");
            if Command::new("kill").args(["-9", &id().to_string()]).status().is_ok() {
                loop {
                    std::thread::park();
                }
            }
            std::process::abort();
        }
    }
}
