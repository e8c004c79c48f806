//! The seeded simulation: see `tidegate_tests::sim`.

use std::{ops::Range, process::Command};

use tidegate_tests::{
    sim::{Series, play, series},
    skip::skip,
};

/// Of a test run; `make sim SEEDS=…` plays more.
const SEEDS: u64 = 200;
/// Of a test run, beside those: others with each commit.
const SEEDS_OF_COMMIT: u64 = 20;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..10 {
        let (first, second) = (play(seed, false), play(seed, false));
        assert_eq!(first.events, second.events, "seed {seed}: {}\n{}", first.tail, second.tail);
        assert_eq!(first.digest, second.digest, "seed {seed}: {}\n{}", first.tail, second.tail);
    }
}

#[test]
fn jobs_are_exact_whatever_goes_wrong() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seeds = match number("TIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let played = exact(seeds);
    assert!(played.faults > played.runs, "{played:?} proves little");
    if played.runs < SEEDS {
        return;
    }
    println!("met: {}", played.met);
    // Every kind of what goes wrong, and a death at every place of the engine to which a simulated job comes.
    assert!(played.met.lacks().is_empty(), "never met in {} seeds: {:?}", played.runs, played.met.lacks());
    // Two runs of three have one region only.
    assert!(4 * played.region_restarts > played.runs, "regions are to restart: {played:?}");
    assert!(played.in_flight > played.runs, "barriers are to overtake rows: {played:?}");
    let files = played.table_files;
    let all_happens = files.uploaded.min(files.fetched).min(files.deleted) > played.with_tables;
    assert!(all_happens, "files of tables are to come, to be fetched and to go: {played:?}");
    assert!(played.overlapping > played.runs, "checkpoints are to overlap: {played:?}");
}

#[test]
fn jobs_are_exact_with_seeds_that_were_never_played() {
    let Some(first) = of_commit() else {
        return skip("there is no commit to draw seeds from");
    };
    println!("seeds of the commit: {first} to {}", first + SEEDS_OF_COMMIT - 1);
    exact(first..first + SEEDS_OF_COMMIT);
}

/// The first seed of the commit that is tested, where that is known.
fn of_commit() -> Option<u64> {
    let asked = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let hash = String::from_utf8(asked.ok().filter(|answer| answer.status.success())?.stdout).ok()?;
    // Short enough to be typed.
    u64::from_str_radix(hash.get(..8)?, 16).ok()
}

/// Plays seeds, all of which must be exact.
fn exact(seeds: Range<u64>) -> Series {
    let played = series(seeds);
    if let Some(failed) = played.failed.first() {
        let cause = failed.verdict.as_ref().err().map_or("", String::as_str);
        panic!(
            "{}{}\nseed {}: {cause}\nplay it again with `make sim SEED={}`",
            failed.tail, failed.setting, failed.seed, failed.seed
        );
    }
    played
}
