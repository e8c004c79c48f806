//! Many cases, on all cores.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    oracle::Oracle,
    play::{PlayedCase, play},
};

/// What came of many cases.
#[derive(Debug, Default)]
pub struct CaseSeries {
    pub cases: u64,
    pub rows: u64,
    pub changes: u64,
    pub copies: u64,
    pub refusals: u64,
    /// Cases whose rows could not be compared.
    pub undecided: u64,
    pub kills: u64,
    pub restarts: u64,
    pub failed: Vec<PlayedCase>,
}

/// Plays seeds until so many have failed.
pub fn series(seeds: Range<u64>, most_failures: usize) -> CaseSeries {
    let next = AtomicU64::new(seeds.start);
    let (stop, series) = (AtomicBool::new(false), Mutex::new(CaseSeries::default()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut oracle = Oracle::start().expect("an oracle");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let played = play(seed, &mut oracle, false);
                    let mut series = series.lock().unwrap_or_else(PoisonError::into_inner);
                    series.cases += 1;
                    series.rows += played.rows;
                    series.changes += played.changes;
                    series.copies += played.copies;
                    series.refusals += played.refusals;
                    series.undecided += u64::from(played.is_undecided);
                    series.kills += played.kills;
                    series.restarts += played.restarts;
                    if played.verdict.is_err() {
                        series.failed.push(played);
                        stop.store(series.failed.len() >= most_failures, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    series.into_inner().unwrap_or_else(PoisonError::into_inner)
}
