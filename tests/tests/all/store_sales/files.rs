//! Orders into files, with no server at all: killed while the chunks of an epoch are published.

use tidegate_tests::{job::Job, local::Local, world::PATIENCE};

const ORDERS: u64 = 900_000;

#[test]
fn killed_between_the_chunks_of_an_epoch() {
    // One epoch of more rows than a chunk takes, published by two slots.
    let local = Local::new(ORDERS);
    let job = local.job().set("spec.checkpoint.interval", "1h");
    exact_after(&local, job, &[("files-between-chunks", 1), ("files-between-chunks", 2)]);
}

#[test]
fn killed_while_a_file_is_written() {
    let local = Local::new(ORDERS);
    let job = local.job().set("spec.checkpoint.interval", "50ms").paced(ORDERS);
    exact_after(&local, job, &[("files-before-link", 1), ("files-before-link", 3)]);
}

#[test]
fn killed_around_the_publication_of_small_epochs() {
    let local = Local::new(ORDERS);
    let job = local.job().set("spec.checkpoint.interval", "50ms").paced(ORDERS);
    exact_after(&local, job, &[("before-publish", 1), ("recovery-settling", 1), ("before-epoch-committed", 1)]);
}

/// Kills the job at each of `faults` in turn, then lets it finish: every order is in the files, once.
fn exact_after(local: &Local, mut job: Job, faults: &[(&str, u64)]) {
    job.kill_at_each(faults, PATIENCE);
    job.finish(PATIENCE);
    local.assert_exact();
    assert_eq!(local.hidden(), Vec::<String>::new(), "what was half written is deleted");
}
