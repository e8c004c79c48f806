//! Random jobs against DuckDB: see `tidegate_tests::differential`.

use tidegate_tests::differential::{Oracle, Ran, play, run_program, series};

/// Of a test run; `make fuzz-sql SEEDS=…` plays more.
const SEEDS: u64 = 200;

#[test]
fn jobs_put_out_what_duckdb_does_whatever_is_done_to_them() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seeds = match number("TIDEGATE_FUZZ_SQL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_FUZZ_SQL_SEEDS").unwrap_or(SEEDS),
    };
    let played = series(seeds, 3);
    let told: String = played
        .failed
        .iter()
        .map(|failed| {
            let cause = failed.verdict.as_ref().err().map_or("", String::as_str);
            format!("seed {0}: {cause}\nsee it with `make fuzz-sql SEED={0}`\n\n", failed.seed)
        })
        .collect();
    assert!(told.is_empty(), "{told}");
    assert!(played.cases == 1 || played.rows > 20 * played.cases, "{played:?} proves little");
    assert!(played.cases == 1 || 2 * played.changes > played.cases, "versions are to follow each other: {played:?}");
    assert!(played.cases == 1 || 5 * played.copies > played.cases, "other jobs are to follow, too: {played:?}");
    assert!(played.cases == 1 || 2 * played.kills > played.cases, "processes are to die: {played:?}");
    assert!(100 * played.undecided <= played.cases.max(100), "{played:?} leaves much undecided");
    // What is refused is not compared.
    assert!(10 * played.refusals < played.cases.max(10), "{played:?} refuses much");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let mut oracle = Oracle::start().unwrap();
    for seed in 0..6 {
        let [first, second] = [(); 2].map(|()| play(seed, &mut oracle, false));
        assert_eq!(first.story, second.story, "seed {seed}");
        assert_eq!((first.events, first.digest), (second.events, second.digest), "seed {seed}: {}", second.tail);
    }
}

#[test]
fn the_program_puts_out_what_duckdb_does() {
    let mut oracle = Oracle::start().unwrap();
    let run = |seed| run_program(seed, &mut oracle).unwrap_or_else(|cause| panic!("seed {seed}: {cause}"));
    let ran: Vec<Ran> = (0..8).map(run).collect();
    let count = |what| ran.iter().filter(|ran| **ran == what).count();
    assert!(count(Ran::Killed) >= 3, "processes are to die: {ran:?}");
    assert!(count(Ran::Nothing) <= 2, "most jobs are to run: {ran:?}");
}
