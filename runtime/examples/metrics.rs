//! Prints the metrics of a job's processes as a table; `make generate` keeps it in `docs/reference/`.

use tidegate::metrics::{Described, Metrics};

const INTRODUCTION: &str = "\
# Metrics of a job

Generated from `runtime/src/metrics.rs`: what `/metrics` of a job's processes has, as OpenMetrics. Each process counts what
it does itself: with workers, records are counted by them, and checkpoints by the coordinator. What a name ends in is its
unit: seconds, bytes, or, where there is none, a number of what it names. A value with a label is there once there is
something to count. Of a histogram there are `_bucket`, `_sum` and `_count`.

| metric | kind | label | |
|---|---|---|---|";

fn main() {
    println!("{INTRODUCTION}");
    for Described { name, kind, label, meaning } in Metrics::described() {
        let label = label.map_or_else(|| "–".to_owned(), |label| format!("`{label}`"));
        println!("| `{name}` | {kind} | {label} | {meaning}. |");
    }
}
