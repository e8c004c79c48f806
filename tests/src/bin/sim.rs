//! Plays the simulation: `sim --seeds 1000 [--from 0]`, or one seed with everything that happens: `sim --seed 123`.

#![allow(clippy::disallowed_methods)] // how long it took in real time is for people

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use tidegate_tests::sim::{Played, TableFiles, play, series};

#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// This one alone, twice: once in silence, and once with all its events and the engine's log.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(seed),
        None => many(arguments.from, arguments.seeds),
    }
}

fn one(seed: u64) -> ExitCode {
    let (silent, told) = (play(seed, false), play(seed, true));
    show(&told);
    if silent.digest != told.digest {
        println!("played again it went otherwise: {:016x}, then {:016x}", silent.digest, told.digest);
        return ExitCode::FAILURE;
    }
    if told.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(played: &Played) {
    let Played { seed, digest, events, took, faults, in_flight, overlapping, restarts, region_restarts, .. } = played;
    let Played { verdict, setting, has_tables, table_files, .. } = played;
    println!("seed {seed}: {setting}");
    println!(
        "{faults} faults, {restarts} restarts ({region_restarts} of regions alone), {in_flight} files of rows in flight, \
         {overlapping} overlapping checkpoints, {events} events, finished after {} virtual s, trace {digest:016x}",
        took / 1_000_000
    );
    println!("met: {}", played.met);
    if *has_tables {
        println!("tables on the local disk: {}", of_tables(table_files));
    }
    match verdict {
        Ok(()) => println!("exact"),
        Err(cause) => println!("FAILED: {cause}"),
    }
}

fn of_tables(TableFiles { uploaded, fetched, deleted }: &TableFiles) -> String {
    format!("{uploaded} files uploaded, {fetched} fetched, {deleted} deleted")
}

fn many(from: u64, count: u64) -> ExitCode {
    let began = Instant::now();
    let played = series(from..from + count);
    for failed in &played.failed {
        println!("{}", failed.tail);
        show(failed);
        println!("play it again with `make sim SEED={}`", failed.seed);
    }
    println!(
        "{} seeds, {} faults, {} restarts ({} of regions alone), {} files of rows in flight, {} overlapping checkpoints, \
         {} events, {} virtual s, in {:.1} s",
        played.runs,
        played.faults,
        played.restarts,
        played.region_restarts,
        played.in_flight,
        played.overlapping,
        played.events,
        played.seconds,
        began.elapsed().as_secs_f64()
    );
    println!("met: {}", played.met);
    let lacks = played.lacks();
    if !lacks.is_empty() {
        println!("not met: {}", lacks.join(", "));
    }
    println!("{} seeds with tables on the local disk: {}", played.with_tables, of_tables(&played.table_files));
    if played.failed.is_empty() && lacks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
