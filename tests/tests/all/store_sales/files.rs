//! Orders into files, with no server at all: killed while the chunks of an epoch are published.

use tidegate_tests::{local::Local, world::PATIENCE};

const ORDERS: u64 = 900_000;

#[test]
fn killed_between_the_chunks_of_an_epoch() {
    // One epoch of more rows than a chunk takes, published by two slots.
    exact_after(&[("files-between-chunks", 1), ("files-between-chunks", 2)], "1h");
}

#[test]
fn killed_around_the_publication_of_small_epochs() {
    exact_after(&[("after-own", 2), ("recovery-settling", 1), ("before-epoch-committed", 1)], "50ms");
}

/// Kills the job at each of `faults` in turn, then lets it finish: every order is in the files, once.
fn exact_after(faults: &[(&str, u64)], interval: &str) {
    let local = Local::new(ORDERS);
    let mut job = local.job().set("spec.checkpoint.interval", interval);
    job.kill_at_each(faults, PATIENCE);
    job.finish(PATIENCE);
    local.assert_exact();
}
