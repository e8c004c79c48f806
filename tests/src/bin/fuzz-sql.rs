//! Compares random jobs with DuckDB: `fuzz-sql --seeds 1000 [--from 0]`, or one with its documents, what was done to it
//! and everything that happened: `fuzz-sql --seed 123`.

#![allow(clippy::disallowed_methods)] // how long it took in real time is for people
#![allow(clippy::expect_used)] // without an oracle there is nothing to do

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use clap::Parser;
use tidegate_tests::differential::{Oracle, play, series};

#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// After so many that differ the rest is left out.
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// This one alone, with its documents and its history.
    #[arg(long)]
    seed: Option<u64>,
    /// With the engine's log, and every event.
    #[arg(long)]
    told: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(seed, arguments.told),
        None => many(&arguments),
    }
}

fn one(seed: u64, told: bool) -> ExitCode {
    let mut oracle = Oracle::start().expect("an oracle");
    let played = play(seed, &mut oracle, told);
    println!("{}", played.story);
    println!("{} rows, {} changes, {} kills, {} events", played.rows, played.changes, played.kills, played.events);
    match played.verdict {
        Ok(()) => {
            println!("exact");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            println!("FAILED: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let played = series(arguments.from..arguments.from + arguments.seeds, arguments.failures);
    let mut causes: BTreeMap<u64, &str> = BTreeMap::new();
    for failed in &played.failed {
        causes.insert(failed.seed, failed.verdict.as_ref().err().map_or("", String::as_str));
    }
    for (seed, cause) in &causes {
        println!("seed {seed}: {cause}\nsee it with `make fuzz-sql SEED={seed}`\n");
    }
    println!(
        "{} cases, {} rows, {} changes, {} of them as another job, {} refusals, {} undecided, {} kills, {} restarts, \
         in {:.1} s; {} differ",
        played.cases,
        played.rows,
        played.changes,
        played.copies,
        played.refusals,
        played.undecided,
        played.kills,
        played.restarts,
        began.elapsed().as_secs_f64(),
        causes.len()
    );
    if causes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
