//! Many seeds, on all cores.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    met::Met,
    run::{Played, play},
    store::TableFiles,
};

/// So many runs meet each kind of fault, and a death at each place.
pub const ENOUGH: u64 = 200;

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Series {
    pub runs: u64,
    pub faults: u64,
    /// What has gone wrong and was asked for, by kind.
    pub met: Met,
    pub events: u64,
    /// Files, or pieces of them, of rows that barriers have overtaken.
    pub in_flight: u64,
    /// Restarts, and those of them in which some regions went on.
    pub restarts: u64,
    pub region_restarts: u64,
    /// Checkpoints that were owned when the next one had begun to write.
    pub overlapping: u64,
    /// Runs with state in tables on the local disk, and what became of their files.
    pub with_tables: u64,
    pub table_files: TableFiles,
    /// Virtual seconds until the jobs had finished, together.
    pub seconds: u64,
    /// Runs that are not what they should be.
    pub failed: Vec<Played>,
}

impl Series {
    /// What the series has not met, if it is long enough to meet everything.
    pub fn lacks(&self) -> Vec<String> {
        if self.runs < ENOUGH { Vec::new() } else { self.met.lacks() }
    }
}

/// Plays seeds until the first that fails.
pub fn series(seeds: Range<u64>) -> Series {
    let next = AtomicU64::new(seeds.start);
    let (stop, series) = (AtomicBool::new(false), Mutex::new(Series::default()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let played = play(seed, false);
                    let mut series = series.lock().unwrap_or_else(PoisonError::into_inner);
                    series.runs += 1;
                    series.faults += played.faults as u64;
                    series.met += &played.met;
                    series.events += played.events;
                    series.in_flight += played.in_flight;
                    series.restarts += played.restarts;
                    series.region_restarts += played.region_restarts;
                    series.overlapping += played.overlapping;
                    series.with_tables += u64::from(played.has_tables);
                    series.table_files += played.table_files;
                    series.seconds += played.took / 1_000_000;
                    if played.verdict.is_err() {
                        stop.store(true, Ordering::Relaxed);
                        series.failed.push(played);
                    }
                }
            });
        }
    });
    series.into_inner().unwrap_or_else(PoisonError::into_inner)
}
