//! The seeded simulation: see `tidegate_tests::sim`.

use tidegate_tests::sim::{play, series};

/// Of a test run; `make sim SEEDS=…` plays more.
const SEEDS: u64 = 200;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..8 {
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
    let played = series(seeds);
    if let Some(failed) = played.failed.first() {
        let cause = failed.verdict.as_ref().err().map_or("", String::as_str);
        panic!(
            "{}{}\nseed {}: {cause}\nplay it again with `make sim SEED={}`",
            failed.tail, failed.setting, failed.seed, failed.seed
        );
    }
    assert!(played.faults > played.runs, "{played:?} proves little");
    assert!(played.runs == 1 || 2 * played.region_restarts > played.runs, "regions are to restart: {played:?}");
    assert!(played.runs == 1 || played.in_flight > played.runs, "barriers are to overtake rows: {played:?}");
    let files = played.table_files;
    let all_happens = files.uploaded.min(files.fetched).min(files.deleted) > played.with_tables;
    assert!(played.runs == 1 || all_happens, "files of tables are to come, to be fetched and to go: {played:?}");
    assert!(played.runs == 1 || played.overlapping > played.runs, "checkpoints are to overlap: {played:?}");
}
