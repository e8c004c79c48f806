//! Runs of one window, merged into one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use datafusion_common::DataFusionError;
use tokio::task::JoinSet;

use super::{
    accumulate::Shape,
    by_bucket::{ByBucket, read_all},
    error::WindowError,
    run::{PART_BYTES, Run},
};
use crate::{
    env,
    state::{
        Rows,
        spilled::{BUCKETS, SpillFolder, SpillWriter},
    },
};

/// Merges in memory.
pub fn merge(shape: &Shape, start: i64, rows: &[Rows]) -> Result<Run, WindowError> {
    let groups = shape.merge(&read_all(rows)?)?;
    Ok(Run::new(start, &shape.partial(groups)?))
}

/// Merges bucket by bucket, to the local disk. Gives up when nobody waits for it any more.
fn merge_to_disk(
    shape: &Shape,
    start: i64,
    rows: Vec<Rows>,
    folder: &SpillFolder,
    given_up: &AtomicBool,
) -> Result<Run, WindowError> {
    let sources = ByBucket::new(shape, rows)?;
    let mut run = Run::default();
    let mut writer: Option<SpillWriter> = None;
    for bucket in 0..BUCKETS {
        if given_up.load(Ordering::Relaxed) {
            break;
        }
        let merged = shape.partial(shape.merge(&sources.read(&(bucket..bucket + 1))?)?)?;
        // A bucket may be more than a part should be.
        for part in Run::new(start, &merged).parts() {
            let Some(batch) = part.batch() else { continue };
            let mut open = match writer.take() {
                Some(writer) => writer,
                None => folder.writer(shape.partial.clone())?,
            };
            open.add(bucket, &batch)?;
            if open.bytes() >= PART_BYTES {
                run.add_spilled(start, open.finish()?);
            } else {
                writer = Some(open);
            }
        }
    }
    if let Some(writer) = writer {
        run.add_spilled(start, writer.finish()?);
    }
    Ok(run)
}

/// A merge that goes on beside the task.
#[derive(Debug)]
pub struct Merging {
    /// Of which window.
    pub start: i64,
    /// Which of its runs, and how many.
    pub from: usize,
    pub count: usize,
    work: JoinSet<Result<Run, WindowError>>,
    given_up: Arc<AtomicBool>,
}

impl Merging {
    pub fn start(shape: &Arc<Shape>, start: i64, from: usize, runs: &[Run], folder: SpillFolder) -> Self {
        let (shape, rows) = (shape.clone(), runs.iter().flat_map(Run::at_hand).collect());
        let (given_up, mut work) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let asked = given_up.clone();
        env::spawn_busy(&mut work, move || merge_to_disk(&shape, start, rows, &folder, &asked));
        Self { start, from, count: runs.len(), work, given_up }
    }

    /// The merged run, when it is there.
    pub fn done(&mut self) -> Option<Result<Run, WindowError>> {
        let done = self.work.try_join_next()?;
        Some(done.unwrap_or_else(|panic| Err(DataFusionError::External(Box::new(panic)).into())))
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}
