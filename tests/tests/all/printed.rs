//! Rows on standard output, of a job that is killed: each at least once. No servers.

use std::{fs, path::Path};

use tidegate_tests::{local::Local, oracle::Rows, world::PATIENCE};

const ORDERS: u64 = 300_000;

/// All whole lines that the starts of a job have printed: the last one of a killed process may be half of one.
fn printed(folder: &Path) -> Rows {
    let starts = fs::read_dir(folder).unwrap().map(|start| fs::read_to_string(start.unwrap().path()).unwrap());
    starts.flat_map(|text| text.split_inclusive('\n').filter_map(whole).collect::<Vec<_>>()).collect()
}

fn whole(line: &str) -> Option<String> {
    line.strip_suffix('\n').map(str::to_owned)
}

#[test]
fn a_killed_job_has_printed_every_row_and_some_again() {
    let local = Local::new(ORDERS);
    let folder = local.path("printed");
    fs::create_dir(&folder).unwrap();
    let mut job = local
        .job()
        .set("spec.sinks", "[{ name: store_sales, print: {} }]")
        .set("spec.checkpoint.interval", "100ms")
        .printing_to(&folder)
        .paced(ORDERS);
    job.kill_at_each(&[("before-own", 2), ("after-own", 3), ("before-manifest", 4)], PATIENCE);
    job.finish(PATIENCE);
    // What it had printed since its newest checkpoint.
    assert!(local.assert_none_lost_of(&printed(&folder)) > 0, "no kill was felt");
}
